"""Text, JSON and XML files of a data set: bounded, and a `DataError` where they are broken."""

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from upscore.errors import DataError

MAX_BYTES = 2 << 30  # the largest COCO file in use, LVIS, has half of it
FARTHEST = 1e6  # pixels: no photo is as wide, and float32 still tells pixels apart


def read_text(path: Path) -> str:
    """A text file; a DataError where it is not one."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: {size:,} bytes of text; expected {MAX_BYTES:,} at most")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object; a DataError where it does not."""
    try:
        value = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not JSON ({error}); export it again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: {_shown(value)}; expected a JSON object")
    return value


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file; a DataError where it is broken or declares a document type.

    Entities, which can expand to gigabytes or read other files, are declared in document types
    alone. The text is decoded before it is searched, so no encoding can hide one.
    """
    text = read_text(path)
    if "<!DOCTYPE" in text:
        raise DataError(f"{path}: declares a document type, which is refused; take <!DOCTYPE> out")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path}: not XML ({error}); export it again") from error


def as_list(value: object, what: str) -> list[Any]:
    """`value`, if it is a list."""
    if not isinstance(value, list):
        raise DataError(f"{what}: {_shown(value)}; expected a list")
    return value


def as_object(value: object, what: str) -> dict[str, Any]:
    """`value`, if it is an object of JSON."""
    if not isinstance(value, dict):
        raise DataError(f"{what}: {_shown(value)}; expected an object")
    return value


def as_text(value: object, what: str) -> str:
    """`value` without space around it, if it is text and not empty."""
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{what}: {_shown(value)}; expected text")
    return value.strip()


def as_whole(value: object, what: str) -> int:
    """`value`, or the number it spells, if it is a whole number from 0 to a million."""
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not (0 <= number <= FARTHEST and number.is_integer()):
        raise DataError(f"{what}: {_shown(value)}; expected a whole number of pixels")
    return int(number)


def as_size(height: object, width: object) -> tuple[int, int] | None:
    """Height and width, or None where neither is given."""
    if height is None and width is None:
        return None
    return as_whole(height, "height"), as_whole(width, "width")


def as_lengths(values: list[Any]) -> NDArray[np.int64]:
    """Run lengths, numbers or text, as an array."""
    try:
        return np.array([int(value) for value in values], np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError("an RLE that is not of whole numbers") from error


def as_numbers(value: object, what: str) -> NDArray[np.float32]:
    """`value`, a list of numbers or of points, as an array; all finite and within a million."""
    try:
        numbers = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"{what}: {_shown(value)}; expected numbers") from error
    if not (np.abs(numbers) <= FARTHEST).all():
        raise DataError(f"{what}: expected numbers within {FARTHEST:,.0f} of 0")
    return numbers.astype(np.float32)


def _shown(value: object) -> str:
    """The beginning of a value, for messages."""
    if isinstance(value, dict | list):
        return f"a {'list' if isinstance(value, list) else 'object'} of {len(value)}"
    return "nothing" if value is None else repr(value)[:40]
