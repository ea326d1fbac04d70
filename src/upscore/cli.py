"""The command line: parse, call one function, print what came of it."""

import ast
import sys
from dataclasses import fields
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from upscore.errors import ParityError, UpscoreError
from upscore.inference.engines import ENGINES
from upscore.training.recipe import RECIPES, Recipe

VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v"}

app = typer.Typer(
    name="upscore",
    help="From coarse class scores to a full-resolution label map.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Model = Annotated[
    list[str],
    typer.Option(
        "--model",
        "-m",
        help='"bundled", or the folder of a run or a checkpoint. Given several times: all of them '
        "as one, by the mean of their probabilities.",
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The folder to write into.")]
Layout = Annotated[
    str | None,
    typer.Option(help="folders, voc, coco, cvat, ...: see the page on data. Found by looking."),
]
Images = Annotated[
    str | None, typer.Option(help="A pattern of the photos in the folder: 'img/*.tif'.")
]
Masks = Annotated[
    str | None, typer.Option(help="The mask of a photo, with --images: 'gt/{stem}_mask.png'.")
]
Mapping = Annotated[
    Path | None, typer.Option(help="A file that merges or ignores classes: `pet = cat, dog`.")
]
LongSide = Annotated[
    int | None,
    typer.Option(
        help="Resize photos for the network so that the longer side is N pixels; 0 leaves them "
        "as they are. Not given: what the model says.",
        metavar="N",
    ),
]
Tta = Annotated[
    str,
    typer.Option(
        help="Average over views of each photo: flip, flip-ud, scales or scales=0.75/1/1.25; "
        "several with commas between them. flip takes twice the time, scales three times.",
        metavar="VIEWS",
    ),
]
Engine = Annotated[str, typer.Option(help=f"What runs the network: auto, {', '.join(ENGINES)}.")]
Device = Annotated[str | None, typer.Option(help="Where torch runs: cpu, cuda, ...")]
Precision = Annotated[str, typer.Option(help="What OpenVINO computes in: float32 or bfloat16.")]
Skip = Annotated[Path | None, typer.Option(help="A file that lists photos and masks to leave out.")]


Data = Annotated[Path, typer.Argument(help="A folder with photos and masks.")]
Time = Annotated[str | None, typer.Option(help="How long it may take in all: 20m, 90s, 1.5h.")]
Steps = Annotated[int | None, typer.Option(help="Batches to learn from, instead of a time.")]
RecipeName = Annotated[
    str | None,
    typer.Option(help=f"{', '.join(RECIPES)}: follow a recipe instead of planning by the data."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any field of the recipe: --set crop=320 --set loss=focal"),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        help="Keep photos together, where some are held out, whose names agree in what this "
        "regular expression matches: patient_[0-9]+",
    ),
]
WhichFold = Annotated[
    str | None, typer.Option("--fold", help="Hold out one of n parts of train and val: 0/5, 1/5.")
]
Allow = Annotated[list[str] | None, typer.Option(help="A kind of problem in the data to accept.")]


@app.command()
def demo(output: Output = Path("demo-output")) -> None:
    """Segment the three photos that come with the package with the bundled model."""
    from upscore.images import samples

    _predict(list(samples().values()), output, "bundled")


@app.command()
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
        typer.Option(help="Try learning rates, and draw loss over rate into this PNG."),
    ] = None,
) -> None:
    """Look at your photos and masks, and show how they would be trained on, and why."""
    from upscore.training.plan import plan as run

    made = run(
        data,
        **_planning(time, steps, recipe, set_, group_by, fold),
        **_reading(layout, images, masks, mapping, skip, allow),
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


@app.command()
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
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run there.")] = False,
    workers: Annotated[int, typer.Option(help="Processes that decode photos.")] = 2,
    log: Annotated[
        str, typer.Option(help="Loggers, if installed: tensorboard,wandb,mlflow; or none.")
    ] = "tensorboard",
) -> None:
    """Plan how to train on your photos and masks, and do it."""
    from upscore.training.allocator import keep_freed
    from upscore.training.train import train as run

    keep_freed()
    result = run(
        data,
        output,
        **_planning(time, steps, recipe, set_, group_by, fold),
        **_reading(layout, images, masks, mapping, skip, allow),
        resume=resume,
        workers=workers,
        log=[] if log == "none" else log.split(","),
    )
    if not result.main:  # one of several processes says it
        return
    scored = "no validation photos" if result.best != result.best else f"mIoU {result.best:.3f}"
    print(f"validation: {scored}; model in {output / 'best'}")
    print(f"next: upscore predict PHOTOS -o labels --model {output}")


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="A folder with photos and masks.")],
    split: Annotated[str | None, typer.Option(help="One split; all if not given.")] = None,
    layout: Layout = None,
    images: Images = None,
    masks: Masks = None,
    mapping: Mapping = None,
    skip: Skip = None,
) -> None:
    """Look for broken photos and masks, as training does before its first step."""
    from upscore import data as datasets
    from upscore.data.progress import progress_bar

    problems = []
    chosen = _layout(layout, images, masks)
    for name in [split] if split else datasets.splits(data, layout=chosen):
        found = datasets.find(data, name, layout=chosen, mapping=mapping, skip=_skip_list(skip))
        print(f"{name}: {len(found)} pairs; {found.about}")
        with progress_bar(f"checking {name}") as progress:
            problems += datasets.check(found, progress=progress)
    if problems:  # each once: "all" holds train and val too, and VOC's trainval does
        print(datasets.report(list(dict.fromkeys(problems))))
        raise typer.Exit(1)


@app.command()
def evaluate(
    data: Annotated[Path, typer.Argument(help="A folder with photos and masks.")],
    model: Model = ["bundled"],  # noqa: B006
    split: Annotated[str, typer.Option(help="Which part of the data.")] = "val",
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
    """Score a model: one confusion matrix over the whole set, at the masks' own size."""
    from upscore.evaluation.evaluate import evaluate as run

    result = run(
        data,
        model,
        split=split,
        **_running(engine, device, precision, long_side),
        tta=tta,
        json_file=json,
        report=report,
        layout=_layout(layout, images, masks),
        mapping=mapping,
        skip=_skip_list(skip),
    )
    scores, (low, high) = result.scores, result.interval
    table = Table(box=None)
    for heading in ("class", "IoU", "boundary IoU", "true pixels"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for row in zip(
        result.class_names, scores.iou, result.boundary_iou, scores.true_pixels, strict=True
    ):
        table.add_row(row[0], f"{row[1]:.3f}", f"{row[2]:.3f}", str(row[3]))
    Console().print(table)
    print(
        f"mean IoU {scores.mean_iou:.4f} (95 % interval {low:.3f} to {high:.3f}), "
        f"pixel accuracy {scores.pixel_accuracy:.4f}, mean accuracy {scores.mean_accuracy:.4f}, "
        f"frequency-weighted IoU {scores.frequency_weighted_iou:.4f}; "
        f"{len(result.image_names)} images"
    )


@app.command()
def predict(
    photos: Annotated[list[str], typer.Argument(help="Files, folders or patterns.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="The folder to write into; of Ray also a URI.")
    ],
    model: Model = ["bundled"],  # noqa: B006
    long_side: LongSide = None,
    tta: Tta = "",
    engine: Engine = "auto",
    device: Device = None,
    precision: Precision = "float32",
    max_pixels: Annotated[
        int | None, typer.Option(help="Refuse photos of more pixels before decoding them.")
    ] = None,
    tile: Annotated[
        str | None,
        typer.Option(
            help="Pictures of any size, by windows of so many pixels (a multiple of 512), or auto: "
            "labels as a GeoTIFF, areas, an overlay.",
            metavar="auto|PIXELS",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="With --tile: pixels the network is shown for one of the picture."),
    ] = None,
    resolution: Annotated[
        str | None,
        typer.Option(help="With --tile, instead: how long these are on the ground: 0.5m, 30cm."),
    ] = None,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="With --tile: a raster of the confidence too.")
    ] = False,
    format: Annotated[
        str, typer.Option(help="With --tile: of the rasters, tif, zarr or png.")
    ] = "tif",
    polygons: Annotated[
        str, typer.Option(help="With --tile: geojson, gpkg, coco.json; several with commas.")
    ] = "",
    jobs: Annotated[int, typer.Option(help="Processes, which share the cores.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out the photos that are finished there.")
    ] = False,
    on: Annotated[
        str | None,
        typer.Option(
            help="ray: on a cluster, the photos or the rows of a manifest: a .csv, .jsonl or "
            ".parquet of id and uri."
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; one on this machine if not given.")
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Of videos: label a frame each so long: 0.5s. Else all.")
    ] = None,
    video_labels: Annotated[
        str | None,
        typer.Option(help="Of videos: labels too, lossless or as PNGs.", metavar="video|png"),
    ] = None,
) -> None:
    """Label photos: a palette PNG, an overlay and a summary; exit code 1 if any file failed."""
    running = _running(engine, device, precision, long_side)
    clips = [path for path in photos if Path(path).suffix.lower() in VIDEO_SUFFIXES]
    if clips and (tile, on, jobs, resume, max_pixels) != (None, None, 1, False, None):
        raise typer.BadParameter("videos go without --tile, --on, --jobs, --resume, --max-pixels")
    if not clips and (every, video_labels) != (None, None):
        raise typer.BadParameter("--every and --video-labels are for videos")
    if (jobs > 1 or resume) and (tile, on) != (None, None):
        raise typer.BadParameter("--jobs and --resume are for photos without --tile and --on")
    if address is not None and on is None:
        raise typer.BadParameter("--address needs --on ray")
    if tile is not None:
        if on is not None:
            raise typer.BadParameter("--tile runs on this machine, not with --on")
        if long_side is not None or max_pixels is not None:
            raise typer.BadParameter("--tile takes pictures of any size: --scale or --resolution")
        if jobs != 1 or resume or on is not None:
            raise typer.BadParameter(
                "--tile is without --jobs, --resume and --on: it takes all cores, and goes on by "
                "itself where it was"
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
        raise typer.BadParameter("--scale, --resolution, --confidence, --format need --tile auto")
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


@app.command()
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
    compared |= {"layout": _layout(layout, images, masks), "skip": _skip_list(skip)}
    try:
        parity = run(model, output, **chosen, **compared, accept=accept or ())
    except ParityError as error:
        Console().print(error.parity)
        raise
    Console().print(parity)
    print(f"written: {output}")


@app.command()
def upsample(
    photo: Annotated[Path, typer.Argument(help="An image file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The image file to write.")],
    factor: Annotated[int, typer.Option(help="How many times larger.")] = 2,
    edges: Annotated[
        str, typer.Option(help="Beyond the border: replicate its pixels, or zeros.")
    ] = "replicate",
) -> None:
    """Enlarge an image with a bilinear transposed convolution."""
    from upscore.upsampling import upsample_file

    pixels = upsample_file(photo, output, factor, edges=edges)
    print(f"{output}: {pixels.shape[1]} x {pixels.shape[0]} pixels")


@app.command()
def explain(
    model: Annotated[
        str | None, typer.Argument(help="A model whose upsampling layers to list too.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path(
        "upscore.html"
    ),
    open_: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Write the page that explains transposed convolution; needs no network to read."""
    from upscore.explanation.explain import explain as examine
    from upscore.explanation.page import open_page, write_page

    explanation = examine(model) if model else None
    if explanation is not None:
        Console().print(explanation)
    print(write_page(output, explanation))
    if open_ and not open_page(output):
        raise UpscoreError(f"no browser could be started; open {output} yourself")


def main() -> None:
    """Run the command; what a user can mend is one message and exit code 1, not a traceback."""
    for stream in (sys.stdout, sys.stderr):  # file names may hold what the terminal cannot show
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except (UpscoreError, OSError) as error:
        Console(stderr=True).print(f"upscore: {error}", style="red", markup=False, highlight=False)
        sys.exit(1)


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


def _running(
    engine: str, device: str | None, precision: str, long_side: int | None
) -> dict[str, Any]:
    """The options of prediction and evaluation that say how the model runs."""
    sized = {} if long_side is None else {"long_side": long_side or None}
    return {"engine": engine, "device": device, "precision": precision, **sized}


def _planning(
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


def _reading(
    layout: str | None,
    images: str | None,
    masks: str | None,
    mapping: Path | None,
    skip: Path | None,
    allow: list[str] | None,
) -> dict[str, Any]:
    """The options that say how to read the data to train on."""
    return {
        "layout": _layout(layout, images, masks),
        "mapping": mapping,
        "skip": _skip_list(skip),
        "allow": allow or (),
    }


def _layout(layout: str | None, images: str | None, masks: str | None) -> Any:
    from upscore.data.layouts import chosen

    return chosen(layout, images, masks)


def _skip_list(path: Path | None) -> tuple[str, ...]:
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


if __name__ == "__main__":
    main()
