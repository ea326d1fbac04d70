"""Image upsampling against interpolate and scikit-image, and the files it reads and writes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.transform import rescale

import upscore
from upscore.images import ImageError
from upscore.upsampling import upsample_file

DTYPES = [np.uint8, np.uint16, np.float32, np.float64]


def _picture(dtype, shape=(13, 9, 3)):
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    return (np.random.default_rng(1).random(shape) * top).astype(dtype), top


def _interpolate(image, factor):
    planes = torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None]
    y = F.interpolate(planes, scale_factor=factor, mode="bilinear")
    return y[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8])
def test_equals_interpolate_and_scikit_image(dtype, factor):
    image, top = _picture(dtype)
    y = upscore.upsample(image, factor)
    assert y.dtype == dtype
    # Integers are rounded, floats are not.
    allowed = 0.51 if top > 1 else 1e-6
    assert np.abs(y - _interpolate(image, factor)).max() <= allowed
    other = rescale(image.astype(np.float64), factor, order=1, channel_axis=2)
    inner = slice(factor, -factor)
    assert np.abs(y - other)[inner, inner].max() <= allowed
    layer = upscore.upsample(image, factor, edges="zeros")
    np.testing.assert_array_equal(layer[inner, inner], y[inner, inner])


def test_the_layers_edges_fade_and_repeated_ones_do_not():
    white = np.full((4, 4), 200, np.uint8)
    assert (upscore.upsample(white, 4) == 200).all()
    faded = upscore.upsample(white, 4, edges="zeros")
    assert faded[0, 8] == 200 * 5 // 8
    assert faded[0, 0] == np.rint(200 * 25 / 64)
    weight = torch.from_numpy(upscore.bilinear_filter(4))[None, None]
    x = torch.from_numpy(white).double()[None, None]
    layer = F.conv_transpose2d(x, weight, stride=4, padding=2)
    np.testing.assert_array_equal(faded, layer[0, 0].round())


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_each_channel_by_itself(channels):
    image, _ = _picture(np.uint8, (5, 6, channels))
    y = upscore.upsample(image, 3)
    assert y.shape == (15, 18, channels)
    assert y.flags.c_contiguous
    for c in range(channels):
        np.testing.assert_array_equal(y[..., c], upscore.upsample(image[..., c], 3))


def test_a_factor_for_each_axis_and_one_pixel():
    image, _ = _picture(np.float64)
    planes = torch.from_numpy(image).permute(2, 0, 1)
    expected = F.interpolate(planes[None], scale_factor=(2, 5), mode="bilinear")[0]
    np.testing.assert_allclose(upscore.upsample(image, (2, 5)), expected.permute(1, 2, 0))
    np.testing.assert_allclose(upscore.upsample(planes, (2, 5)), expected)
    assert upscore.upsample(np.array([[7]], np.uint8), 3).tolist() == [[7] * 3] * 3


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (2, 3, 4, 5)])
def test_tensors_of_every_rank(dtype, shape):
    image = (torch.rand(shape) * 200).to(dtype)
    y = upscore.upsample(image, 2)
    assert y.dtype == dtype
    planes = image.double().reshape(-1, 1, 4, 5)
    expected = F.interpolate(planes, scale_factor=2, mode="bilinear").reshape(*shape[:-2], 8, 10)
    tolerance = 0.5 + 1e-3 if dtype == torch.uint8 else 200 * torch.finfo(dtype).eps
    assert (y.double() - expected).abs().max() <= tolerance


def test_strided_and_read_only_images():
    image, _ = _picture(np.uint8)
    expected = upscore.upsample(np.ascontiguousarray(image[::-2, 1::2, ::-1]), 3)
    view = image[::-2, 1::2, ::-1]
    view.flags.writeable = False
    np.testing.assert_array_equal(upscore.upsample(view, 3), expected)


@pytest.mark.parametrize(
    ("image", "factor", "options", "error", "message"),
    [
        ([[1.0]], 2, {}, TypeError, "image must be a NumPy array or a torch tensor"),
        (np.zeros((2, 2), np.int32), 2, {}, TypeError, "not int32: convert it"),
        (np.zeros((2, 2, 3, 1)), 2, {}, ValueError, r"image must be \(H, W\)"),
        (np.zeros((0, 2)), 2, {}, ValueError, "with a pixel at least"),
        (np.zeros((2, 2)), 0, {}, ValueError, "factor must be at least 1, not 0"),
        (np.zeros((2, 2)), 1.5, {}, TypeError, "factor must be a whole number, not 1.5"),
        (np.zeros((2, 2)), (1, 2, 3), {}, ValueError, "one number or two"),
        (
            np.zeros((2, 2)),
            2,
            {"edges": "wrap"},
            ValueError,
            "edges must be 'replicate' or 'zeros'",
        ),
        (np.zeros((2, 2)), 2**15, {}, ValueError, "4,294,967,296 elements, and at most"),
    ],
)
def test_bad_input(image, factor, options, error, message):
    with pytest.raises(error, match=message):
        upscore.upsample(image, factor, **options)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_files_keep_their_kind(tmp_path, mode):
    channels = {"L": (), "I;16": ()}.get(mode, (len(mode),))
    pixels, _ = _picture(np.uint16 if mode == "I;16" else np.uint8, (5, 4, *channels))
    Image.fromarray(pixels).save(tmp_path / "in.png")
    upsample_file(tmp_path / "in.png", tmp_path / "out.png", 3)
    with Image.open(tmp_path / "out.png") as written:
        assert written.mode == mode
        np.testing.assert_array_equal(np.asarray(written), upscore.upsample(pixels, 3))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.png", "out.png"]


def test_a_broken_file_is_named_and_nothing_written(tmp_path):
    (tmp_path / "in.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(ImageError, match=r"in\.png"):
        upsample_file(tmp_path / "in.png", tmp_path / "out.png", 2)
    assert not (tmp_path / "out.png").exists()
