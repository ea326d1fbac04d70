"""`upscore serve`."""

import logging
import re
import warnings
from pathlib import Path
from typing import Annotated

import typer

from upscore.cli.options import Device, Engine, LongSide, Precision, Tta, running_of

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30}


def serve(
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            help='"bundled", the folder of a run or a checkpoint, or NAME=FOLDER. Give it several '
            "times to serve several by their names; the first is the default.",
        ),
    ] = ["bundled"],  # noqa: B006
    host: Annotated[
        str,
        typer.Option(help="The address to listen on. 0.0.0.0 is all networks and needs a token."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one.")] = 8000,
    open_: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="UPSCORE_TOKEN",
            help="What clients must send as Authorization: Bearer TOKEN. Better set the variable: "
            "other users can see a command's arguments.",
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Let pages of this web site call the API: https://example.org"),
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(
            help="The folder for corrected masks. Default: ./corrections where only this machine "
            "can reach the server, else they are not kept."
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="The memory that all loaded models may take: 2G, 500M.", metavar="SIZE"),
    ] = None,
    queue: Annotated[
        int, typer.Option(help="The most photos accepted at once; more get status 429.")
    ] = 64,
    batch: Annotated[
        int | None,
        typer.Option(
            help="The most photos of one size in one call of the network. Default: 8 on a GPU, "
            "else 1."
        ),
    ] = None,
    deadline: Annotated[
        float,
        typer.Option(help="Seconds that a photo may take to arrive, and its answer to be made."),
    ] = 60.0,
    max_bytes: Annotated[
        str, typer.Option(help="The largest file of a photo.", metavar="SIZE")
    ] = "64M",
    max_pixels: Annotated[int, typer.Option(help="The most pixels of a photo.")] = 50_000_000,
    engine: Engine = "auto",
    device: Device = None,
    precision: Precision = "float32",
    long_side: LongSide = None,
    tta: Tta = "",
) -> None:
    """Serve a page and an API for labelling.

    On the page you can also correct labels.
    """
    from upscore.serving.models import Running
    from upscore.serving.serve import serve as run
    from upscore.serving.settings import Settings

    logging.basicConfig(format="%(asctime)s %(message)s")
    # What decoders have to say of a photo is in its answer, and none of it belongs into a log.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    logging.getLogger("upscore.serving").setLevel(logging.INFO)
    settings = Settings(
        host=host,
        port=port,
        token=token,
        origins=tuple(origin or ()),
        corrections=corrections,
        memory=None if memory is None else _bytes(memory),
        queue=queue,
        batch=batch,
        deadline=deadline,
        max_bytes=_bytes(max_bytes),
        max_pixels=max_pixels,
    )
    how = Running(**running_of(engine, device, precision, long_side), tta=tta)
    run(model, settings, how, open_page=open_)


def _bytes(text: str) -> int:
    """A number of bytes from 500M or 2G."""
    match = re.fullmatch(r"([0-9]+)([KMG]?)B?", text.upper())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no size: expected a number with K, M or G, as in 2G")
    return int(match[1]) << _UNITS[match[2]]
