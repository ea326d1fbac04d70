"""What an export is to be, checked before any work."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

from upscore.errors import ArgumentError, MissingPackageError, UnsupportedError
from upscore.models.spec import MOST_PIXELS_A_SIDE

Format = Literal["onnx", "openvino", "checkpoint", "pt2"]
Precision = Literal["float32", "float16", "int8"]
Head = Literal["scores", "labels"]

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "checkpoint": "", "pt2": ".pt2"}
PRECISIONS = ("float32", "float16", "int8")
HEADS = ("scores", "labels")

# Format -> the packages it needs, and the extras that bring them.
_NEEDS = {
    "onnx": (("onnx", "onnxruntime", "scipy"), "export"),
    "openvino": (("onnx", "onnxruntime", "openvino", "scipy"), "export,openvino"),
    "checkpoint": (("torch", "onnx", "onnxruntime", "onnxscript", "scipy"), "export"),
    "pt2": (("torch", "onnxruntime", "scipy"), "export"),
}


class Options(NamedTuple):
    """A format, and how the model is put into it."""

    format: str
    precision: str
    head: str
    size: tuple[int, int] | None  # height and width; None: any


def options_of(
    file: Path, format: str | None, precision: str, head: str, size: str | tuple[int, int]
) -> Options:
    """Return checked options; the format is that of the file's suffix if not given.

    Raises:
        ArgumentError: a value that does not exist, or a suffix of another format.
        UnsupportedError: values that do not go together.
        MissingPackageError: a package that the format needs is not installed.
    """
    named = {suffix: name for name, suffix in SUFFIXES.items()}
    chosen = format or named.get(file.suffix)
    for name, value, values in (
        ("format", chosen or file.suffix, SUFFIXES),
        ("precision", precision, PRECISIONS),
        ("head", head, HEADS),
    ):
        if value not in values:
            raise ArgumentError(f"{name} must be {', '.join(values)}, not {value!r}")
    assert chosen is not None
    suffix = SUFFIXES[chosen]
    if suffix and file.suffix != suffix:
        raise ArgumentError(f"the format {chosen} is written to a file *{suffix}, not to {file}")
    options = Options(chosen, precision, head, _size(size))
    _possible(options)
    packages, extra = _NEEDS[chosen]
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise MissingPackageError(
            f"the format {chosen} needs {', '.join(missing)}: pip install 'upscore[{extra}]'"
        )
    return options


def _size(size: str | tuple[int, int]) -> tuple[int, int] | None:
    if size == "dynamic":
        return None
    if isinstance(size, str):
        found = re.fullmatch("([0-9]{1,6})x([0-9]{1,6})", size)
        height, width = map(int, found.groups()) if found else (0, 0)
    else:
        whole = isinstance(size, tuple | list) and all(type(side) is int for side in size)
        height, width = size if whole and len(size) == 2 else (0, 0)
    if not (1 <= height <= MOST_PIXELS_A_SIDE and 1 <= width <= MOST_PIXELS_A_SIDE):
        raise ArgumentError(f'size must be HxW in pixels (such as 480x640) or "dynamic": {size!r}')
    return height, width


def _possible(options: Options) -> None:
    """Refuse what a format cannot hold."""
    if options.format == "checkpoint":
        if options.head != "scores" or options.size is not None:
            raise UnsupportedError(
                "a checkpoint holds the network alone, for every size: leave out head and size"
            )
        if options.precision == "int8":
            raise UnsupportedError("a checkpoint is float32 or float16: take onnx for int8")
    if options.format == "pt2":
        if options.size is None:
            raise UnsupportedError(
                "pt2 needs a size (HxW): torch takes minutes to trace a network for all sizes"
            )
        if options.precision == "int8":
            raise UnsupportedError(
                "pt2 is float32 or float16: torch has no 8-bit convolutions that run everywhere; "
                "take onnx or openvino for int8"
            )
