"""`upscore check` and `upscore evaluate`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from upscore.cli.options import (
    Device,
    Engine,
    Images,
    Layout,
    LongSide,
    Mapping,
    Masks,
    Model,
    Precision,
    Skip,
    Tta,
    layout_of,
    running_of,
    skip_list_of,
)


def check(
    data: Annotated[Path, typer.Argument(help="A folder with photos and masks.")],
    split: Annotated[str | None, typer.Option(help="The split to check. Default: all.")] = None,
    layout: Layout = None,
    images: Images = None,
    masks: Masks = None,
    mapping: Mapping = None,
    skip: Skip = None,
) -> None:
    """Find broken photos and masks.

    Training does the same before its first step, and looks for photos that are in two splits.
    """
    from upscore import data as datasets
    from upscore.data.layouts.layout import ALL
    from upscore.data.progress import progress_bar

    problems: list[datasets.Problem] = []
    chosen = layout_of(layout, images, masks)
    known = datasets.splits(data, layout=chosen)
    whole = (ALL,) if ALL in known else known  # what is not divided is checked once
    for name in [split] if split else whole:
        found = datasets.find(data, name, layout=chosen, mapping=mapping, skip=skip_list_of(skip))
        print(f"{name}: {len(found)} pairs; {found.about}")
        with progress_bar(f"checking {name}") as progress:
            survey = datasets.survey(found, progress=progress)
        problems += survey.problems
        for note in survey.notes:
            print(f"note: {note}")
    if problems:  # each once: VOC's trainval holds train and val too
        print(datasets.report(list(dict.fromkeys(problems))))
        raise typer.Exit(1)


def evaluate(
    data: Annotated[Path, typer.Argument(help="A folder with photos and masks.")],
    model: Model = ["bundled"],  # noqa: B006
    split: Annotated[
        str | None,
        typer.Option(
            help="The split to score. Default: val, or what training held out, or all of a folder "
            "that is not divided."
        ),
    ] = None,
    long_side: LongSide = None,
    tta: Tta = "",
    engine: Engine = "auto",
    device: Device = None,
    precision: Precision = "float32",
    json: Annotated[Path | None, typer.Option(help="Write all numbers to this file.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write report.html and its pictures to this folder.")
    ] = None,
    layout: Layout = None,
    images: Images = None,
    masks: Masks = None,
    mapping: Mapping = None,
    skip: Skip = None,
) -> None:
    """Score a model on photos with masks.

    All pixels count in one confusion matrix.
    """
    from upscore.evaluation.evaluate import evaluate as run

    result = run(
        data,
        model,
        split=split,
        **running_of(engine, device, precision, long_side),
        tta=tta,
        json_file=json,
        report=report,
        layout=layout_of(layout, images, masks),
        mapping=mapping,
        skip=skip_list_of(skip),
    )
    scores, protocol = result.scores, result.protocol
    table = Table(box=None)
    for heading in ("class", "IoU", "boundary IoU", "true pixels"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for row in zip(
        result.class_names, scores.iou, result.boundary_iou, scores.true_pixels, strict=True
    ):
        table.add_row(row[0], f"{row[1]:.3f}", f"{row[2]:.3f}", str(row[3]))
    Console().print(table)
    images_scored = len(result.image_names)
    print(
        f"mean IoU {scores.mean_iou:.4f} ({result.interval_in_words}), "
        f"pixel accuracy {scores.pixel_accuracy:.4f}, mean accuracy {scores.mean_accuracy:.4f}, "
        f"frequency-weighted IoU {scores.frequency_weighted_iou:.4f}; "
        f"{images_scored} image{'s' * (images_scored != 1)}"
    )
    print(f"scored: {protocol['scored']}")
    if missing := protocol["classes_without_truth"]:
        print(f"in no mask: {', '.join(missing)}; where predicted, such a class counts as IoU 0")
