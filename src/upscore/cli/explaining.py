"""`upscore explain` and `upscore upsample`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from upscore.errors import UpscoreError


def upsample(
    photo: Annotated[Path, typer.Argument(help="An image file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The image file to write.")],
    factor: Annotated[int, typer.Option(help="How many times larger.")] = 2,
    edges: Annotated[
        str, typer.Option(help="What lies beyond the border: replicate its pixels, or zeros.")
    ] = "replicate",
) -> None:
    """Enlarge an image.

    A transposed convolution with the bilinear filter does it.
    """
    from upscore.upsampling import upsample_file

    pixels = upsample_file(photo, output, factor, edges=edges)
    print(f"{output}: {pixels.shape[1]} x {pixels.shape[0]} pixels")


def explain(
    model: Annotated[
        str | None, typer.Argument(help="Also list the upsampling layers of this model.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path(
        "upscore.html"
    ),
    open_: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Write a page on transposed convolution.

    It is interactive and works offline.
    """
    from upscore.explanation.explain import explain as examine
    from upscore.explanation.page import open_page, write_page

    explanation = examine(model) if model else None
    if explanation is not None:
        Console().print(explanation)
    print(write_page(output, explanation))
    if open_ and not open_page(output):
        raise UpscoreError(f"no browser could be started; open {output} yourself")
