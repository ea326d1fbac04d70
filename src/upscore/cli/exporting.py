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
        typer.Option(help="onnx, openvino, checkpoint or pt2. Default: by the file's name."),
    ] = None,
    precision: Annotated[str, typer.Option(help="float32, float16 or int8.")] = "float32",
    head: Annotated[
        str,
        typer.Option(help="What the file returns: coarse scores, or labels of the photo's size."),
    ] = "scores",
    size: Annotated[
        str, typer.Option(help="The size of photos in pixels, HxW, or dynamic for any size.")
    ] = "dynamic",
    data: Annotated[
        Path | None,
        typer.Option(help="Compare, and calibrate int8, on the photos and masks in this folder."),
    ] = None,
    split: Annotated[str, typer.Option(help="The split of --data to compare on.")] = "val",
    layout: Layout = None,
    images: Images = None,
    masks: Masks = None,
    mapping: Mapping = None,
    skip: Skip = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(help="Write the file even if this measure is below its limit."),
    ] = None,
) -> None:
    """Export a model for other programs.

    It first checks that the labels stay the same.
    """
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
