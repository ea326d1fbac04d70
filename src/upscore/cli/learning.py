"""`upscore plan` and `upscore train`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from upscore.cli.options import (
    Allow,
    Data,
    GroupBy,
    Images,
    Layout,
    Mapping,
    Masks,
    Output,
    RecipeName,
    Settings,
    Skip,
    Steps,
    Time,
    WhichFold,
    planning_of,
    reading_of,
)


def plan(
    data: Data,
    time: Time = None,
    steps: Steps = None,
    recipe: RecipeName = None,
    set_: Settings = None,
    group_by: GroupBy = None,
    fold: WhichFold = None,
    layout: Layout = None,
    images: Images = None,
    masks: Masks = None,
    mapping: Mapping = None,
    skip: Skip = None,
    allow: Allow = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write the plan into.")
    ] = Path("plan.json"),
    find_rate: Annotated[
        Path | None,
        typer.Option(help="Try learning rates, and draw the loss at each into this PNG."),
    ] = None,
) -> None:
    """Show how training would go, and why.

    It looks at your photos and masks, and writes the plan to a file.
    """
    from upscore.training.plan import plan as run

    made = run(
        data,
        **planning_of(time, steps, recipe, set_, group_by, fold),
        **reading_of(layout, images, masks, mapping, skip, allow),
    )
    made.print(Console())
    made.save(output)
    print(f"written: {output}")
    if find_rate is not None:
        from upscore.training.rates import find_rate as find

        rate = find(made, find_rate)
        encoder = rate * made.recipe.encoder_rate / made.recipe.decoder_rate
        print(
            f"{find_rate}: the loss falls fastest with --set decoder_rate={rate:.1e} "
            f"--set encoder_rate={encoder:.1e}"
        )


def train(
    data: Data,
    output: Output,
    time: Time = None,
    steps: Steps = None,
    recipe: RecipeName = None,
    set_: Settings = None,
    group_by: GroupBy = None,
    fold: WhichFold = None,
    layout: Layout = None,
    images: Images = None,
    masks: Masks = None,
    mapping: Mapping = None,
    skip: Skip = None,
    allow: Allow = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the output folder.")
    ] = False,
    workers: Annotated[int, typer.Option(help="The number of processes that decode photos.")] = 2,
    log: Annotated[
        str,
        typer.Option(help="Where scores are logged: tensorboard,wandb,mlflow; or none."),
    ] = "tensorboard",
) -> None:
    """Train a model on your photos and masks.

    It looks at them and plans the run first.
    """
    from upscore.training.allocator import keep_freed
    from upscore.training.train import train as run

    keep_freed()
    result = run(
        data,
        output,
        **planning_of(time, steps, recipe, set_, group_by, fold),
        **reading_of(layout, images, masks, mapping, skip, allow),
        resume=resume,
        workers=workers,
        log=[] if log == "none" else log.split(","),
    )
    if not result.main:  # one of several processes says it
        return
    scored = "no validation photos" if result.best != result.best else f"mIoU {result.best:.3f}"
    print(f"validation: {scored}; model in {output / 'best'}")
    print(f"next: upscore predict PHOTOS -o labels --model {output}")
