import numpy as np
import pytest
import tifffile
from pixels import photo_of

from upscore.errors import ImageError
from upscore.rasters import open_raster
from upscore.rasters.raster import Window
from upscore.rasters.readers.slide import SlideRaster

SIZE = 150, 201
APERIO = "Aperio Image Library v1\n201x150 |AppMag = 20|MPP = {}"


def write(path, microns=0.25, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb",
        tile=(64, 64),
        description=APERIO.format(microns),
        metadata=None,
        **options,
    )
    return pixels


def test_windows(tmp_path):
    path = tmp_path / "a.svs"
    pixels = write(path)
    with open_raster(path) as raster:
        assert isinstance(raster, SlideRaster)
        assert (raster.size, raster.bands, raster.dtype) == (SIZE, 3, np.uint8)
        for window in [Window(0, 0, *SIZE), Window(149, 200, 1, 1), Window(30, 50, 100, 99)]:
            top, left, height, width = window
            part = pixels[top : top + height, left : left + width]
            np.testing.assert_array_equal(photo_of(raster, window, None), part, strict=True)
            assert raster.valid(window).all()
        place = raster.georeference
        assert place.transform == pytest.approx((0.25e-6, 0, 0, 0, 0.25e-6, 0))
        assert (place.crs, place.resolution) == (None, pytest.approx(0.25e-6))


@pytest.mark.parametrize("microns", ["no number", "0", "nan", "-1"])
def test_a_size_that_makes_no_sense_is_none(tmp_path, microns):
    write(tmp_path / "a.svs", microns)
    with open_raster(tmp_path / "a.svs") as raster:
        assert raster.georeference is None


def test_a_window_is_decoded_once_for_pixels_and_validity(tmp_path, monkeypatch):
    write(tmp_path / "a.svs")
    with open_raster(tmp_path / "a.svs") as raster:
        calls = []
        decode = raster._rgba
        monkeypatch.setattr(raster, "_rgba", lambda window: calls.append(window) or decode(window))
        photo_of(raster, Window(0, 0, 9, 9), None)
        assert len(calls) == 1
        raster.valid(Window(0, 0, 9, 9))[:] = False  # it is the caller's
        assert raster.valid(Window(0, 0, 9, 9)).all()
        assert raster.valid(Window(0, 0, 9, 10)).shape == (9, 10)
        assert len(calls) == 2


def test_what_was_not_scanned_is_transparent(tmp_path):
    path = tmp_path / "a.svs"
    pixels = write(path)
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        tags["TileByteCounts"].overwrite([0, *tags["TileByteCounts"].value[1:]])
    with open_raster(path) as raster:
        window = Window(60, 60, 10, 10)
        wanted = np.ones((10, 10), bool)
        wanted[:4, :4] = False
        np.testing.assert_array_equal(raster.valid(window), wanted)
        wanted = np.where(wanted[..., None], pixels[60:70, 60:70], 255)
        np.testing.assert_array_equal(photo_of(raster, window, None), wanted)


def test_a_broken_tile(tmp_path):
    path = tmp_path / "a.svs"
    pixels = write(path, compression="deflate")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    data[offset : offset + count] = b"\xff" * count
    path.write_bytes(data)
    with open_raster(path) as raster:
        for _ in range(2):
            message = r"a\.svs: rows 3 to 13, columns 2 to 22 cannot be read .*copy the file"
            with pytest.raises(ImageError, match=message):
                raster.read(Window(3, 2, 10, 20))
            part = raster.read(Window(64, 64, 80, 90))
            np.testing.assert_array_equal(part, pixels[64:144, 64:154])


def test_what_is_no_slide(tmp_path):
    (tmp_path / "a.svs").write_text("Dear diary")
    with pytest.raises(ImageError, match=r"a\.svs: OpenSlide cannot open it \(.*\w.*\)"):
        open_raster(tmp_path / "a.svs")
