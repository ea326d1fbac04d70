"""`upscore demo` and `upscore predict`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from upscore.cli.options import Device, Engine, LongSide, Model, Output, Precision, Tta, running_of
from upscore.prediction.video import VIDEO_SUFFIXES


def demo(output: Output = Path("demo-output")) -> None:
    """Label the three sample photos.

    They come with the package, as does the model that labels them.
    """
    from upscore.images import samples

    _predict(list(samples().values()), output, "bundled")


def predict(
    photos: Annotated[list[str], typer.Argument(help="Files, folders or patterns.")],
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="The folder to write into; with --on ray also a URI."),
    ],
    model: Model = ["bundled"],  # noqa: B006
    long_side: LongSide = None,
    tta: Tta = "",
    engine: Engine = "auto",
    device: Device = None,
    precision: Precision = "float32",
    max_pixels: Annotated[
        int | None,
        typer.Option(help="Refuse photos of more pixels than this, before decoding them."),
    ] = None,
    tile: Annotated[
        str | None,
        typer.Option(
            help="Label pictures of any size in windows of this many pixels (a multiple of 512), "
            "or auto. Writes a GeoTIFF of the labels, areas and an overlay.",
            metavar="auto|PIXELS",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="With --tile: show the network this many pixels for each pixel of the file."
        ),
    ] = None,
    resolution: Annotated[
        str | None,
        typer.Option(
            help="With --tile: show the network pixels this long on the ground: 0.5m, 30cm."
        ),
    ] = None,
    confidence: Annotated[
        bool,
        typer.Option("--confidence", help="With --tile: also write a raster of the confidence."),
    ] = False,
    format: Annotated[
        str, typer.Option(help="With --tile: the format of the rasters: tif, zarr or png.")
    ] = "tif",
    polygons: Annotated[
        str,
        typer.Option(
            help="With --tile: also write polygons, as geojson,gpkg,coco.json or some of them."
        ),
    ] = "",
    jobs: Annotated[int, typer.Option(help="The number of processes, which share the cores.")] = 1,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Leave out photos that are finished in the output folder."),
    ] = False,
    on: Annotated[
        str | None,
        typer.Option(
            help="ray: label on a Ray cluster. Name photos, or a .csv, .jsonl or .parquet file "
            "with the columns id and uri."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="The Ray cluster's address. Default: start one on this machine."),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(
            help="For videos: label one frame in each interval, such as 0.5s. Default: all."
        ),
    ] = None,
    video_labels: Annotated[
        str | None,
        typer.Option(
            help="For videos: also write the labels, as a lossless video or as PNGs.",
            metavar="video|png",
        ),
    ] = None,
) -> None:
    """Label photos, large pictures or videos.

    Each photo gets a palette PNG and an overlay, and all of them a summary. The exit code is 1 if
    any file failed.
    """
    running = running_of(engine, device, precision, long_side)
    clips = [path for path in photos if Path(path).suffix.lower() in VIDEO_SUFFIXES]
    if clips and (tile, on, jobs, resume, max_pixels) != (None, None, 1, False, None):
        raise typer.BadParameter(
            "for videos, leave out --tile, --on, --jobs, --resume, --max-pixels"
        )
    if not clips and (every, video_labels) != (None, None):
        raise typer.BadParameter("--every and --video-labels are for videos")
    if tile is not None and (on, jobs, resume) != (None, 1, False):
        raise typer.BadParameter(
            "with --tile, leave out --on, --jobs and --resume: it takes all cores, and goes on "
            "where a run was killed"
        )
    if on is not None and (jobs, resume) != (1, False):
        raise typer.BadParameter("with --on, leave out --jobs and --resume")
    if address is not None and on is None:
        raise typer.BadParameter("--address needs --on ray")
    if tile is not None:
        if long_side is not None or max_pixels is not None:
            raise typer.BadParameter(
                "with --tile, give --scale or --resolution instead of --long-side, and leave out "
                "--max-pixels"
            )
        _predict_scenes(
            photos,
            Path(output),
            model,
            tile=None if tile == "auto" else _pixels(tile),
            scale=scale,
            resolution=resolution,
            confidence=confidence,
            format=format,
            polygons=tuple(filter(None, polygons.split(","))),
            tta=tta,
            **running,
        )
        return
    if (scale, resolution, confidence, format, polygons) != (None, None, False, "tif", ""):
        raise typer.BadParameter(
            "--scale, --resolution, --confidence, --format and --polygons need --tile auto"
        )
    limits = {} if max_pixels is None else {"max_pixels": max_pixels}
    if on is not None:
        _predict_on_ray(on, photos, output, model, address, tta=tta, **limits, **running)
        return
    failed = bool(clips) and _predict_videos(
        clips, Path(output), model, every, video_labels, tta=tta, **running
    )
    if photos := [path for path in photos if path not in clips]:
        _predict(
            photos, Path(output), model, tta=tta, jobs=jobs, resume=resume, **limits, **running
        )
    if failed:
        raise typer.Exit(1)


def _predict(photos: list[Any], output: Path, model: str | list[str], **options: Any) -> None:
    from upscore.prediction.batch import predict_files

    summary = predict_files(photos, output, model, **options)
    for record in summary.ok:
        found = ", ".join(f"{name} {share:.0%}" for name, share in record["areas"].items())
        print(f"{record['file']}: {found}")
    _report_failed(summary, f"label maps and overlays in {output}")


def _report_failed(summary: Any, what: str) -> None:
    """Say how many results there are, and which files have none; these make exit code 1."""
    print(f"{len(summary.ok)} {what}")
    if summary.failed:
        for record in summary.failed:
            print(record["error"], file=sys.stderr)
        raise typer.Exit(1)


def _predict_scenes(
    pictures: list[Any], output: Path, model: str | list[str], **options: Any
) -> None:
    from upscore.prediction.scenes.predict import predict_scenes

    summary = predict_scenes(pictures, output, model, **options)
    for record in summary.files:
        if "labels" in record:
            found = ", ".join(f"{name} {share:.1%}" for name, share in record["areas"].items())
            exact = "" if record["exact"] else " (windows overlap and are blended)"
            print(f"{record['file']}: {found}{exact}")
            print(f"  scale {record['scale']:g}: {record['scale_reason']}")
    _report_failed(summary, f"label rasters, areas and overlays in {output}")


def _predict_videos(
    clips: list[str],
    output: Path,
    model: str | list[str],
    every: str | None,
    labels: Any,
    **options: Any,
) -> bool:
    """Label videos, and return whether any has a fault."""
    from upscore.prediction.video.predict import predict_videos

    try:
        seconds = None if every is None else float(every.removesuffix("s"))
    except ValueError:
        raise typer.BadParameter(f"--every is {every!r}: expected seconds, as in 0.5s") from None
    summary = predict_videos(clips, output, model, every=seconds, labels=labels, **options)
    for record in summary.files:
        if "overlay" in record:
            found = ", ".join(f"{name} {share:.0%}" for name, share in record["areas"].items())
            print(f"{record['file']}: {record['labelled']} frames, {found}")
            if "sound" in record:
                print(f"  {record['sound']}")
    print(f"{len(summary.ok)} videos without a fault; overlays and areas in {output}")
    for record in summary.failed:
        print(record["error"], file=sys.stderr)
    return bool(summary.failed)


def _pixels(text: str) -> int:
    """A number of pixels."""
    if not text.isdecimal():
        raise typer.BadParameter(f"--tile is {text!r}: expected auto or a number of pixels")
    return int(text)


def _predict_on_ray(
    on: str,
    given: list[str],
    output: str,
    model: list[str],
    address: str | None,
    **options: Any,
) -> None:
    from upscore.prediction.ray import predict_rows

    if on != "ray":
        raise typer.BadParameter(f"--on is {on!r}: expected ray")
    rows = predict_rows(given, output, model, address=address, **options)
    failed = [row["error"] for row in rows if row["status"] != "ok"]
    print(f"{len(rows) - len(failed)} label maps and overlays in {output}")
    if failed:
        print(*failed, sep="\n", file=sys.stderr)
        raise typer.Exit(1)
