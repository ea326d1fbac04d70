"""Shapes: which pixels they cover, against exact geometry and COCO's own code."""

import zlib
from base64 import b64encode
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from upscore.data.shapes import (
    Bitmap,
    Drawing,
    Polygon,
    Runs,
    ellipse,
    polygon,
    rectangle,
    uncompressed,
)
from upscore.errors import DataError


def filled(shape, height=20, width=30):
    canvas = np.zeros((height, width), np.int32)
    shape.fill(canvas, 1)
    return canvas == 1


def ring(*points):
    return np.array(points, np.float32)


def test_a_rectangle_covers_the_pixels_whose_centres_it_holds():
    expected = np.zeros((20, 30), bool)
    expected[3:7, 2:9] = True
    assert (filled(rectangle("a", 2, 3, 9, 7)) == expected).all()
    assert (filled(rectangle("a", 9, 7, 2, 3)) == expected).all()
    assert (filled(rectangle("a", 2.4, 3.4, 9.4, 7.4)) == expected).all()


def test_shapes_with_a_common_edge_share_no_pixel_and_leave_none():
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = rng.uniform(0, 30), rng.uniform(0, 20)
        corners = [(0, 0), (30, 0), (30, 20), (0, 20)]
        fans = [
            filled(polygon("a", ring(corners[i], corners[(i + 1) % 4], (x, y)))) for i in range(4)
        ]
        assert (np.sum(fans, axis=0) == 1).all()


def test_areas_are_right_on_average_and_larger_with_pillow():
    rng = np.random.default_rng(1)
    covered = pillow = area = 0.0
    for _ in range(300):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        radii = rng.uniform(3, 9, 9)
        points = np.stack([15 + radii * np.cos(angles), 10 + radii * np.sin(angles)], 1)
        shape = polygon("a", points.astype(np.float32))
        covered, area = covered + filled(shape).sum(), area + shape.area()
        image = Image.new("1", (30, 20))
        ImageDraw.Draw(image).polygon(points.ravel().tolist(), fill=1)
        pillow += np.asarray(image).sum()
    assert covered == pytest.approx(area, rel=0.01)
    assert pillow > 1.15 * area


def test_holes_and_what_lies_outside():
    outside, hole = (
        ring((-5, -5), (40, -5), (40, 40), (-5, 40)),
        ring((2, 2), (5, 2), (5, 6), (2, 6)),
    )
    expected = np.ones((20, 30), bool)
    expected[2:6, 2:5] = False
    assert (filled(polygon("a", outside, hole)) == expected).all()
    assert not filled(rectangle("a", 40, 3, 50, 9)).any()
    assert not filled(rectangle("a", 3, -9, 9, -1)).any()


def test_ellipses_and_turned_rectangles():
    rows, columns = np.mgrid[:20, :30] + 0.5
    expected = ((columns - 12) / 9) ** 2 + ((rows - 8) / 5) ** 2 < 1
    assert (filled(ellipse("a", 12, 8, 9, 5)) == expected).all()
    upright = filled(rectangle("a", 10, 4, 14, 16))
    assert (filled(rectangle("a", 6, 8, 18, 12, degrees=90)) == upright).all()
    # Clockwise, as it is seen: what points right points down and right.
    turned = filled(rectangle("a", 5, 9, 25, 11, degrees=30))
    assert turned[14, 23]
    assert turned[5, 7]
    assert not turned[5, 23]


@pytest.mark.parametrize("points", [[], [(1, 2), (3, 4)], [1, 2, 3], [[(1, 2, 3)] * 3]])
def test_fewer_than_three_points_are_no_polygon(points):
    with pytest.raises(DataError, match="three or more points"):
        polygon("a", np.array(points, np.float32))


def test_an_endless_outline_is_refused_before_it_takes_memory():
    points = np.tile(np.array([[0, 0], [1, 9_000]], np.float32), (10_000, 1))
    with pytest.raises(DataError, match="too long an outline"):
        Polygon("a", (points,)).fill(np.zeros((9_000, 2), np.int32), 1)


def test_run_lengths_that_pycocotools_packed():
    """`pycocotools.mask.encode` of two rectangles, one with negative differences of lengths."""
    text = r"\45:d00\O0d00\O0d00\O0d00\O0d00\O0d00\O0d00\O0d00\O0d00\O0d00\O0d00\O0d00\O0d00\O0d00"
    text += r"\O0d00\O0d00\O0d00\OS10000000000000000000000000000000000000:"
    expected = np.zeros((50, 40), bool)
    expected[5:30, 3:20] = expected[40:45, 2:39] = True
    shape = Runs("a", (0, 0, 40, 50), text, by_column=True)
    assert (filled(shape, 50, 40) == expected).all()


def encoder():
    return pytest.importorskip("pycocotools.mask")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_run_lengths_as_pycocotools_packs_them(height, width, seed, share):
    rng = np.random.default_rng(seed)
    coarse = rng.random((height, -(-width // 3))) < share
    inside = np.repeat(coarse, 3, axis=1)[:, :width]
    packed = encoder().encode(np.asfortranarray(inside, np.uint8))
    text = packed["counts"].decode()
    shape = Runs("a", (0, 0, width, height), text, by_column=True)
    assert (filled(shape, height, width) == inside).all()
    assert shape.area() == inside.sum()
    plain = Runs("a", (0, 0, width, height), uncompressed(text), by_column=True)
    assert (filled(plain, height, width) == inside).all()


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # in pycocotools
def test_polygons_are_those_of_pycocotools_but_for_their_rims():
    mask = encoder()
    rng = np.random.default_rng(2)
    for _ in range(40):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radii = rng.uniform(60, 120, 12)
        points = np.stack([128 + radii * np.cos(angles), 128 + radii * np.sin(angles)], 1)
        theirs = mask.decode(mask.frPyObjects([points.ravel().tolist()], 256, 256))[..., 0] > 0
        ours = filled(polygon("a", points.astype(np.float32)), 256, 256)
        assert (ours & theirs).sum() > 0.99 * (ours | theirs).sum()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30) | st.text(st.characters(min_codepoint=48, max_codepoint=111)))
def test_any_text_is_run_lengths_or_an_error(text):
    try:
        found = filled(Runs("a", (0, 0, 3, 2), text, by_column=True), 2, 3).shape
    except DataError as error:
        found = str(error)
    assert found == (2, 3) or "RLE" in found


@pytest.mark.parametrize("counts", [[], [5], [3, 4], [-1, 7], [2**62, 2**62], [0, 6, 1]])
def test_lengths_that_do_not_fill_the_box(counts):
    shape = Runs("a", (0, 0, 3, 2), np.array(counts, np.int64), by_column=False)
    with pytest.raises(DataError, match="do not add up to 6 pixels"):
        shape.fill(np.zeros((9, 9), np.int32), 1)


def test_lengths_of_another_photo_s_size():
    shape = Runs("a", (0, 0, 3, 2), np.array([6]), by_column=True)
    with pytest.raises(DataError, match="RLE of 3 x 2 pixels; expected the photo's 2 x 3"):
        shape.fill(np.zeros((3, 2), np.int32), 1)


def test_lengths_of_a_box_go_along_its_rows():
    shape = Runs("a", (2, 1, 3, 2), np.array([1, 4, 1]), by_column=False)
    canvas = np.zeros((4, 6), np.int32)
    shape.fill(canvas, 7)
    assert canvas[1:3, 2:5].tolist() == [[0, 7, 7], [7, 7, 0]]
    assert canvas.sum() == 28


def png(image: Image.Image) -> bytes:
    stream = BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


INSIDE = np.array([[1, 0, 1], [0, 1, 1]], bool)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
@pytest.mark.parametrize("pack", [zlib.compress, bytes])
def test_bitmaps_of_every_mode(mode, pack):
    if mode == "P":  # as Supervisely writes them: colour 0 is transparent
        image = Image.fromarray(INSIDE.astype(np.uint8), "L")
        image.putpalette([0, 0, 0, 0, 0, 0])
        image.info["transparency"] = 0
    elif mode in ("LA", "RGBA"):
        image = Image.new(mode, (3, 2), "black")
        image.putalpha(Image.fromarray(INSIDE.astype(np.uint8) * 255))
    else:
        image = Image.fromarray(INSIDE.astype(np.uint8) * 255).convert(mode)
    shape = Bitmap("a", (4, 1), b64encode(pack(png(image))).decode())
    expected = np.zeros((20, 30), bool)
    expected[1:3, 4:7] = INSIDE
    assert (filled(shape) == expected).all()


def test_bitmaps_that_are_packed_bombs_or_broken():
    bomb = zlib.compress(bytes(50_000_000))
    huge = png(Image.new("1", (9_000, 9_000)))
    small = zlib.compress(png(Image.new("1", (3, 2))))
    for packed, message in (
        (bomb, "larger than the photo"),
        (huge, "9000 x 9000 pixels"),
        (small[:-9], "does not end"),
        (b"\x89PNG", "cannot be decoded"),
        (b"?", "cannot be decoded"),
    ):
        with pytest.raises(DataError, match=message):
            filled(Bitmap("a", (0, 0), b64encode(packed).decode()))


def test_a_drawing_of_no_size_or_of_too_many_pixels(tmp_path):
    for size in ((0, 5), (1_000_000, 1_000_000)):
        with pytest.raises(DataError, match="pixels; expected 1 to 100,000,000 in all"):
            Drawing((), size).draw(tmp_path, lambda label: 0)
