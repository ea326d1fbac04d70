"""Options that several commands have, and what they mean to the functions behind."""

import ast
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from upscore.inference.engines import ENGINES
from upscore.training.recipe import RECIPES, Recipe

Model = Annotated[
    list[str],
    typer.Option(
        "--model",
        "-m",
        help='"bundled", or the folder of a run or a checkpoint. Give it several times to average '
        "the probabilities of several models.",
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The folder to write into.")]
Layout = Annotated[
    str | None,
    typer.Option(
        help="How the folder is laid out: folders, voc, coco, cvat, ... Default: recognised."
    ),
]
Images = Annotated[
    str | None, typer.Option(help="Where the photos are, below the folder: 'img/*.tif'.")
]
Masks = Annotated[
    str | None, typer.Option(help="With --images: where a photo's mask is: 'gt/{stem}_mask.png'.")
]
Mapping = Annotated[
    Path | None, typer.Option(help="A file that merges or ignores classes: `pet = cat, dog`.")
]
LongSide = Annotated[
    int | None,
    typer.Option(
        help="Resize photos for the network so that the longer side is N pixels; 0 leaves them "
        "as they are. Default: the model's own size.",
        metavar="N",
    ),
]
Tta = Annotated[
    str,
    typer.Option(
        help="Average over views of each photo: flip, flip-ud, scales or scales=0.75/1/1.25; "
        "separate several by commas. flip takes twice the time, scales three times.",
        metavar="VIEWS",
    ),
]
Engine = Annotated[str, typer.Option(help=f"What runs the network: auto, {', '.join(ENGINES)}.")]
Device = Annotated[str | None, typer.Option(help="Where torch runs: cpu, cuda, ...")]
Precision = Annotated[
    str, typer.Option(help="The precision OpenVINO computes in: float32 or bfloat16.")
]
Skip = Annotated[Path | None, typer.Option(help="A file that lists photos and masks to leave out.")]


Data = Annotated[Path, typer.Argument(help="A folder with photos and masks.")]
Time = Annotated[
    str | None, typer.Option(help="The time that the whole run may take: 20m, 90s, 1.5h.")
]
Steps = Annotated[int | None, typer.Option(help="The number of training steps, instead of a time.")]
RecipeName = Annotated[
    str | None,
    typer.Option(
        help=f"Follow this recipe instead of a plan made from the data: {', '.join(RECIPES)}."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a field of the recipe: --set crop=320 --set loss=focal"),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        help="Hold out whole groups of photos: those in whose names, or paths, this regular "
        "expression matches the same text, such as patient_[0-9]+",
    ),
]
WhichFold = Annotated[
    str | None,
    typer.Option(
        "--fold",
        help="Cross-validate: hold out one part of train and val; 0/5 is the first of five.",
    ),
]
Allow = Annotated[
    list[str] | None, typer.Option(help="Accept this kind of problem in the data: blurred, ...")
]


def running_of(
    engine: str, device: str | None, precision: str, long_side: int | None
) -> dict[str, Any]:
    """The options of prediction and evaluation that say how the model runs."""
    sized = {} if long_side is None else {"long_side": long_side or None}
    return {"engine": engine, "device": device, "precision": precision, **sized}


def planning_of(
    time: str | None,
    steps: int | None,
    recipe: str | None,
    settings: list[str] | None,
    group_by: str | None,
    fold: str | None,
) -> dict[str, Any]:
    """The options that say how to train."""
    changes = dict(map(_setting, settings or ()))
    if steps is not None:
        changes["steps"] = steps
    return {"time": time, "recipe": recipe, "group_by": group_by, "fold": fold, **changes}


def reading_of(
    layout: str | None,
    images: str | None,
    masks: str | None,
    mapping: Path | None,
    skip: Path | None,
    allow: list[str] | None,
) -> dict[str, Any]:
    """The options that say how to read the data to train on."""
    return {
        "layout": layout_of(layout, images, masks),
        "mapping": mapping,
        "skip": skip_list_of(skip),
        "allow": allow or (),
    }


def layout_of(layout: str | None, images: str | None, masks: str | None) -> Any:
    from upscore.data.layouts import chosen

    return chosen(layout, images, masks)


def skip_list_of(path: Path | None) -> tuple[str, ...]:
    from upscore.data import read_skip_list

    return read_skip_list(path) if path else ()


def _setting(text: str) -> tuple[str, Any]:
    """A recipe's field and its value from `name=value`."""
    name, equals, value = text.partition("=")
    known = [field.name for field in fields(Recipe) if field.name != "mapping"]
    if not equals or name not in known:
        names = ", ".join(known)
        raise typer.BadParameter(f"{text!r} is not name=value with a name of {names}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
