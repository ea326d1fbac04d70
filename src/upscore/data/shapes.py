"""Masks that annotation files describe instead of holding them: shapes, drawn when they are read.

A pixel belongs to a polygon if its centre does; pixel (0, 0) reaches from 0 to 1. So shapes that
share an edge neither overlap nor leave a gap, and areas come out right, which is why polygons are
not drawn with Pillow: it also colours every pixel the outline touches, a sixth too much of a shape
some 18 pixels wide.
"""

import binascii
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from upscore import images
from upscore.errors import DataError

Bools = NDArray[np.bool_]
Canvas = NDArray[np.int32]
Ring = NDArray[np.float32]

_MOST_CROSSINGS = 50_000_000  # of outlines and rows: 50 times a coast line's, drawn on 10,000 rows
_SIDES = 360  # of the polygon that stands for a circle: it misses 0.04 pixels of radius 1000


@dataclass(frozen=True, eq=False)
class Polygon:
    """What lies inside an odd number of rings, each N x 2 of x and y: one ring, or one and holes.

    `label` is the name of its class, as in all shapes; None stands for void.
    """

    label: str | None
    rings: tuple[Ring, ...]
    kind: ClassVar = "polygons"

    def area(self) -> float:
        """The area of the first ring."""
        x, y = self.rings[0].astype(np.float64).T
        return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2

    def fill(self, canvas: Canvas, value: int) -> None:
        """Write `value` where the shape is; parts beyond the canvas are cut off."""
        crossings = [_crossings(ring, *canvas.shape) for ring in self.rings]
        rows, columns = (np.concatenate(part) for part in zip(*crossings, strict=True))
        if not len(rows):
            return
        top, left = rows.min(), columns.min()
        changes = np.zeros((rows.max() + 1 - top, columns.max() + 1 - left), bool)
        np.logical_xor.at(changes, (rows - top, columns - left), True)
        _stamp(canvas, left, top, np.logical_xor.accumulate(changes, axis=1), value)


@dataclass(frozen=True, eq=False)
class Runs:
    """Run lengths, outside and inside in turn, of a box (left, top, width, height).

    COCO's go down the columns of the whole photo, as numbers or as its compressed text; then the
    box is all of the canvas. CVAT's go along the rows of a box.
    """

    label: str | None
    box: tuple[int, int, int, int]
    counts: NDArray[np.int64] | str
    by_column: bool
    kind: ClassVar = "RLE"

    def area(self) -> float:
        """The number of pixels inside."""
        return float(self._lengths()[1::2].sum())

    def fill(self, canvas: Canvas, value: int) -> None:
        """Write `value` where the shape is; a DataError if the lengths do not fill the box."""
        left, top, width, height = self.box
        if self.by_column and (height, width) != canvas.shape:
            raise DataError(
                f"an RLE of {width} x {height} pixels; expected the photo's "
                f"{canvas.shape[1]} x {canvas.shape[0]}"
            )
        lengths = self._lengths()
        inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
        shape = inside.reshape(width, height).T if self.by_column else inside.reshape(height, width)
        _stamp(canvas, left, top, shape, value)

    def _lengths(self) -> NDArray[np.int64]:
        pixels = self.box[2] * self.box[3]
        if pixels > images.MAX_PIXELS:
            raise DataError(f"an RLE of {pixels:,} pixels; expected {images.MAX_PIXELS:,} at most")
        lengths = uncompressed(self.counts) if isinstance(self.counts, str) else self.counts
        if ((lengths < 0) | (lengths > pixels)).any() or lengths.sum() != pixels:
            raise DataError(f"an RLE whose run lengths do not add up to {pixels:,} pixels")
        return lengths


@dataclass(frozen=True, eq=False)
class Bitmap:
    """A small picture in base64, placed at x, y: PNG, or PNG that zlib has packed once more.

    The shape is where it is not transparent; where nothing of it is, where it is not black.
    """

    label: str | None
    origin: tuple[int, int]
    data: str
    kind: ClassVar = "bitmaps"

    def fill(self, canvas: Canvas, value: int) -> None:
        """Write `value` where the shape is; a DataError if it is larger than the canvas."""
        try:
            packed = binascii.a2b_base64(self.data.encode("ascii"))
            picture = _unpacked(packed, 4 * canvas.size + (1 << 16))
            with images.opened(picture, max_pixels=canvas.size) as image:
                if image.has_transparency_data:
                    shape = np.asarray(image.convert("RGBA"))[..., 3] > 0
                else:
                    shape = np.asarray(image.convert("L")) > 0
        except (ValueError, zlib.error) as error:  # an ImageError is a ValueError
            raise DataError(f"a bitmap that cannot be decoded ({error})") from error
        _stamp(canvas, *self.origin, shape, value)


Shape = Polygon | Runs | Bitmap


@dataclass(frozen=True, eq=False)
class Drawing:
    """The shapes of one photo, later ones over earlier ones.

    `size` is the height and width that the annotations are made for; where they do not say, it is
    None, and the photo's own is taken. `shared` tells that their file is of many photos.
    """

    shapes: tuple[Shape, ...]
    size: tuple[int, int] | None = None
    shared: bool = False

    def draw(self, photo: Path, value_of: Callable[[str | None], int]) -> Canvas:
        """The mask, int32 H x W: the value of each shape's label, that of "background" elsewhere.

        Raises:
            DataError: a shape cannot be drawn, or the size is nothing or beyond that of photos.
            ImageError: the size is the photo's, and it has none.
        """
        height, width = self.size or images.size(photo)[::-1]
        if not 0 < height * width <= images.MAX_PIXELS:
            limit = f"1 to {images.MAX_PIXELS:,}"
            raise DataError(f"annotated as {width} x {height} pixels; expected {limit} in all")
        canvas = np.full((height, width), value_of("background"), np.int32)
        for number, shape in enumerate(self.shapes, 1):
            try:
                shape.fill(canvas, value_of(shape.label))
            except DataError as error:
                raise DataError(f"shape {number} ({shape.label or 'void'}): {error}") from error
        return canvas


def polygon(label: str | None, *rings: Ring) -> Polygon:
    """A polygon of rings; a DataError where one is not at least three points."""
    for ring in rings:
        if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3:
            raise DataError("a polygon that is not of three or more points")
    return Polygon(label, rings)


def rectangle(
    label: str | None, x0: float, y0: float, x1: float, y1: float, *, degrees: float = 0
) -> Polygon:
    """A rectangle between two corners, turned clockwise about its centre."""
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)
    return Polygon(label, (_turned(corners, degrees),))


def ellipse(
    label: str | None, x: float, y: float, rx: float, ry: float, *, degrees: float = 0
) -> Polygon:
    """An ellipse about (x, y), turned clockwise: a polygon of many sides."""
    angles = np.linspace(0, 2 * np.pi, _SIDES, endpoint=False)
    outline = np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)
    return Polygon(label, (_turned(outline.astype(np.float32), degrees),))


def uncompressed(text: str) -> NDArray[np.int64]:
    """The run lengths in COCO's compressed text.

    Each character holds five bits of a number, the lowest first, and whether more follow; from the
    fourth number on, they are differences to the last but one.

    >>> uncompressed("04L4").tolist()
    [0, 4, -4, 8]
    """
    codes = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64) - 48
    last = (codes & 32) == 0
    if not len(codes) or ((codes < 0) | (codes > 63)).any() or not last[-1]:
        raise DataError("an RLE that is not COCO's compressed text")
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    digits = np.diff(np.append(starts, len(codes)))
    if digits.max() > 12:  # 60 bits
        raise DataError("an RLE with a run length beyond all photos")
    place = np.arange(len(codes)) - np.repeat(starts, digits)
    values = np.add.reduceat((codes & 31) << 5 * place, starts)
    negative = (codes[last] & 16) > 0
    values -= np.where(negative, 1 << 5 * digits, 0)
    for first in (1, 2):
        values[first::2] = values[first::2].cumsum()
    return values


def _crossings(ring: Ring, height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows whose centre line an outline crosses, and the first column whose centre lies beyond."""
    x0, y0 = ring.astype(np.float64).T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    begin, end = (
        np.ceil(edge(y0, y1) - 0.5).clip(0, height).astype(np.int64)
        for edge in (np.minimum, np.maximum)
    )
    count = end - begin
    if count.sum() > _MOST_CROSSINGS:
        raise DataError(f"a polygon of {len(ring):,} points, too long an outline to draw")
    edge = np.repeat(np.arange(len(ring)), count)
    rows = np.arange(len(edge)) - np.repeat(count.cumsum() - count, count) + begin[edge]
    share = (rows + 0.5 - y0[edge]) / (y1 - y0)[edge]
    columns = np.ceil(x0[edge] + share * (x1 - x0)[edge] - 0.5).clip(0, width)
    return rows, columns.astype(np.int64)


def _stamp(canvas: Canvas, left: int, top: int, shape: Bools, value: int) -> None:
    """Write `value` where `shape` is, its corner at (left, top); what lies outside is cut off."""
    height, width = canvas.shape
    part = shape[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    top, left = max(top, 0), max(left, 0)
    canvas[top : top + part.shape[0], left : left + part.shape[1]][part] = value


def _turned(points: Ring, degrees: float) -> Ring:
    centre, angle = points.mean(axis=0), np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return ((points - centre) @ turn + centre).astype(np.float32) if degrees else points


def _unpacked(packed: bytes, most: int) -> bytes:
    """What zlib packed, at most so many bytes; a PNG as it is."""
    if packed.startswith(b"\x89PNG"):
        return packed
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(packed, most)
    if not unpacker.eof:
        raise DataError("it does not end" if len(data) < most else "it is larger than the photo")
    return data
