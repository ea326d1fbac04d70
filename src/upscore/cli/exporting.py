"""`upscore export`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from upscore.cli.options import (
    Images,
    Layout,
    Mapping,
    Masks,
    Skip,
    layout_of,
    skip_list_of,
)
from upscore.errors import ParityError


def export(
    model: Annotated[str, typer.Argument(help='"bundled", or the folder of a run or checkpoint.')],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write; a folder for a checkpoint.")
    ],
    format: Annotated[
        str | None,
        typer.Option(help="onnx, openvino, checkpoint or pt2; by the file's name if not given."),
    ] = None,
    precision: Annotated[str, typer.Option(help="float32, float16 or int8.")] = "float32",
    head: Annotated[
        str, typer.Option(help="What comes out: coarse scores, or labels of the photo's size.")
    ] = "scores",
    size: Annotated[
        str, typer.Option(help="Photos of one size in pixels, HxW, or dynamic.")
    ] = "dynamic",
    data: Annotated[
        Path | None,
        typer.Option(help="A folder with photos and masks to compare on, and to calibrate int8."),
    ] = None,
    split: Annotated[str, typer.Option(help="Which part of the data.")] = "val",
    layout: Layout = None,
    images: Images = None,
    masks: Masks = None,
    mapping: Mapping = None,
    skip: Skip = None,
    accept: Annotated[
        list[str] | None, typer.Option(help="A measure that may be beyond its limit.")
    ] = None,
) -> None:
    """Write a model for other programs, if it labels photos as the model does."""
    from upscore.exporting.export import export as run

    chosen: dict[str, Any] = {"format": format, "precision": precision, "head": head, "size": size}
    compared: dict[str, Any] = {"data": data, "split": split, "mapping": mapping}
    compared |= {"layout": layout_of(layout, images, masks), "skip": skip_list_of(skip)}
    try:
        parity = run(model, output, **chosen, **compared, accept=accept or ())
    except ParityError as error:
        Console().print(error.parity)
        raise
    Console().print(parity)
    print(f"written: {output}")
