import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from upscore import images

# Top left, top middle, ... of a 2 x 3 image, in blocks that survive JPEG.
GREY = np.kron([[10, 100, 200], [60, 150, 250]], np.ones((8, 8))).astype(np.uint8)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def png(width: int, height: int, bits: int, colour: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def corners(pixels: np.ndarray) -> list:
    return pixels[4::8, 4::8, 0].tolist()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_every_format_is_read(form, tmp_path):
    data = encoded(Image.fromarray(GREY).convert("RGB"), form)
    path = tmp_path / "photo.any"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        pixels = images.read(source)
        assert (pixels.dtype, pixels.shape) == (np.uint8, (16, 24, 3))
        np.testing.assert_allclose(pixels[..., 1], GREY, atol=3)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(form, orientation):
    upright = Image.fromarray(GREY)
    # How a camera stores it: the inverse of what the tag asks for.
    stored = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: np.rot90,
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, -1),
    }[orientation](np.asarray(upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)).convert("RGB"), form, exif=exif)
    np.testing.assert_allclose(corners(images.read(data)), GREY[4::8, 4::8], atol=3)
    with images.opened(data) as image:
        if form != "TIFF":  # Pillow itself turns those
            assert image.size == stored.shape[::-1]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_not_clipped(form):
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    pixels = images.read(encoded(deep, form))
    np.testing.assert_array_equal(pixels, np.repeat(GREY[..., None], 3, axis=2))


def test_16_bit_colour_is_read():
    data = png(1, 1, 16, 2, b"\0" + struct.pack(">HHH", 0, 0x8080, 0xFFFF))
    assert images.read(data).tolist() == [[[0, 128, 255]]]


def test_float_grey_is_scaled_and_other_ranges_refused():
    unit = Image.fromarray(np.array([[0, 0.5, 1]], np.float32))
    assert images.read(encoded(unit, "TIFF"))[0, :, 0].tolist() == [0, 128, 255]
    wide = Image.fromarray(np.array([[0, 300]], np.float32))
    with pytest.raises(images.ImageError, match=r"0\.0 to 300\.0, but 0 to 1 was expected"):
        images.read(encoded(wide, "TIFF"))
    nan = Image.fromarray(np.array([[0, np.nan]], np.float32))
    with pytest.raises(images.ImageError, match="nan"):
        images.read(encoded(nan, "TIFF"))


def test_transparent_parts_show_white():
    image = Image.new("RGBA", (2, 1), (200, 0, 0, 255))
    image.putpixel((1, 0), (200, 0, 0, 0))
    assert images.read(encoded(image, "PNG")).tolist() == [[[200, 0, 0], [255, 255, 255]]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7, 200, 0, 0])
    palette.putpixel((1, 0), 1)
    data = encoded(palette, "PNG", transparency=1)
    assert images.read(data).tolist() == [[[9, 8, 7], [255, 255, 255]]]


def test_cmyk_is_read_as_seen():
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    np.testing.assert_allclose(images.read(data)[0, 0], [255, 0, 0], atol=3)


@pytest.mark.parametrize("size", [(1, 1), (7, 1), (517, 333)])
def test_any_size(size):
    assert images.read(encoded(Image.new("RGB", size), "PNG")).shape == (size[1], size[0], 3)


def test_a_mask_keeps_its_indices():
    mask = Image.fromarray(np.array([[0, 1, 255]], np.uint8))
    mask.putpalette(bytes(range(256)) * 3)
    with images.opened(encoded(mask, "PNG")) as image:
        assert image.mode == "P"
        assert np.asarray(image).tolist() == [[0, 1, 255]]


def test_what_is_no_image_is_named(tmp_path):
    empty, text, folder = tmp_path / "empty.jpg", tmp_path / "text.jpg", tmp_path / "folder.jpg"
    empty.touch()
    text.write_text("hello, this is no photo")
    folder.mkdir()
    for path, message in [
        (empty, r"empty\.jpg: the file is empty \(0 bytes\)"),
        (text, r"text\.jpg: not an image in a known format \(JPEG, PNG"),
        (folder, r"folder\.jpg: not a file"),
        (tmp_path / "gone.jpg", r"gone\.jpg: no such file"),
    ]:
        with pytest.raises(images.ImageError, match=message):
            images.read(path)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(100_000, 100_000, 8, 0, bytes(10)))
    with pytest.raises(images.ImageError, match=r"bomb\.png: 100000 x 100000 pixels, more than"):
        images.read(bomb)
    with pytest.raises(images.ImageError, match="limit of 99"):
        images.read(encoded(Image.new("L", (10, 10)), "PNG"), max_pixels=99)
    assert images.read(encoded(Image.new("L", (10, 10)), "PNG"), max_pixels=100).size == 300


def test_sizes_that_pillow_warns_of_are_read_in_silence(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16)
    assert images.read(encoded(Image.new("L", (10, 10)), "PNG")).shape == (10, 10, 3)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_every_truncation_is_an_image_error(form):
    noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    data = encoded(Image.fromarray(noise), form)
    for length in (1, 5, 20, len(data) // 4, len(data) // 2, len(data) * 3 // 4):
        with pytest.raises(images.ImageError, match="the image: "):
            images.read(data[:length])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF", "PPM", "BMP"]))
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged metadata
def test_damaged_bytes_give_pixels_or_an_image_error(data, form):
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if form in ("JPEG", "PNG", "WEBP") else {}
    damaged = bytearray(encoded(Image.fromarray(GREY).convert("RGB"), form, **options))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = images.read(bytes(damaged), max_pixels=1_000_000)
    except images.ImageError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.size > 0
