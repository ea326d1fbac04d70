"""What each extra is for, tried: `python extras.py NAME` in an environment that has no other."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np

import upscore

COMMAND = [sys.executable, "-m", "upscore"]


def command(*arguments):
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(*arguments):
    """The message of a command that cannot run; it is no traceback."""
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr, done.stderr
    return " ".join(done.stderr.split())


def absent(*modules):
    """Holds where the environment is as small as it should be."""
    assert not [name for name in modules if importlib.util.find_spec(name)]


def scores():
    return np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)


def cat():
    from upscore.images import samples

    return samples()["cat"]


def photos(count):
    """A data set of bright squares, which are called cats."""
    from PIL import Image

    folder = Path("data")
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for i in range(count):
        mask = np.zeros((64, 64), np.uint8)
        mask[8 + i : 40 + i, 8:40] = 1
        photo = np.random.default_rng(i).integers(0, 60, (64, 64, 3)) + 150 * mask[..., None]
        Image.fromarray(photo.astype(np.uint8)).save(folder / "images" / f"{i}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
    (folder / "classes.txt").write_text("background\ncat\n", encoding="utf-8")
    return folder


def none():
    from upscore import definition, filters, geometry

    absent("numba", "PIL", "typer", "torch")
    assert upscore.argmax(scores(), size=(8, 10)).shape == (1, 8, 10)
    weight = filters.bilinear_weight(3, 2, groups=3).astype(np.float32)
    how = {"stride": 2, "padding": geometry.upscore_padding(2), "groups": 3}
    made = upscore.conv_transpose2d(scores(), weight, **how)
    np.testing.assert_allclose(
        made, definition.conv_transpose(scores(), weight, **how), rtol=1e-4, atol=1e-5
    )
    for name in ("Predictor", "evaluate", "serve", "train"):
        try:
            getattr(upscore, name)
        except upscore.UpscoreError as error:
            message = str(error)
        assert f"upscore.{name} needs" in message
        assert "pip install 'upscore[" in message
    assert "pip install 'upscore[predict]'" in fails("predict", "photo.jpg")


def fast():
    assert upscore.argmax(scores(), size=(8, 10), backend="cpu").shape == (1, 8, 10)


def masks():
    whole = np.ones((1, 8, 9), np.float32)
    whole[:, [0, -1]] = whole[:, :, [0, -1]] = -1
    (outlines,) = upscore.masks(whole, (32, 36)).polygons()
    assert len(outlines) == 1


def predict():
    absent("torch", "rasterio", "scipy", "fastapi")
    assert "cat" in command("predict", cat(), "-o", "out")
    assert Path("out/labels/cat.png").is_file()
    for words, extra in (
        ("serve --port 0", "serve"),
        ("train data -o run", "train"),
        (f"predict {cat()} -o out --tile auto", "rasters"),
    ):
        message = fails(*words.split())
        assert f"pip install 'upscore[{extra}]'" in message, message


def openvino():
    absent("torch")
    assert "cat" in command("predict", cat(), "-o", "out", "--engine", "openvino")


def bands():
    import tifffile

    values = np.arange(5 * 8 * 9, dtype=np.uint16).reshape(8, 9, 5)
    tifffile.imwrite("five.tif", values, compression="lzw", planarconfig="contig")
    np.testing.assert_array_equal(upscore.images.read_bands("five.tif"), values)


def rasters():
    import rasterio
    import zarr

    from upscore.rasters import open_raster

    place = {"crs": "EPSG:25832", "transform": rasterio.Affine(0.2, 0, 5e5, 0, -0.2, 5e6)}
    photo = upscore.images.read(cat()).transpose(2, 0, 1)
    _, height, width = photo.shape
    shape = {"count": 3, "height": height, "width": width, "dtype": "uint8"}
    with rasterio.open("scene.tif", "w", driver="GTiff", **shape, **place) as scene:
        scene.write(photo)
    command("predict", "scene.tif", "-o", "out", "--tile", "512", "--polygons", "gpkg")
    assert list(Path("out").rglob("*.gpkg"))
    zarr.save("scene.zarr", photo.transpose(1, 2, 0))
    with open_raster("scene.zarr") as scene:
        assert scene.size == (height, width)


def slides():
    import tifffile

    about = "Aperio Image Library v1\n201x150 |AppMag = 20|MPP = 0.25"
    pixels = np.random.default_rng(0).integers(0, 256, (150, 201, 3), np.uint8)
    tifffile.imwrite(
        "slide.svs", pixels, photometric="rgb", tile=(64, 64), description=about, metadata=None
    )
    command("predict", "slide.svs", "-o", "out", "--tile", "auto")
    assert list(Path("out/labels").glob("slide.*"))


def video():
    import av

    with av.open("clip.mp4", "w") as file:
        stream = file.add_stream("libx264", 10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * i, np.uint8))
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    command("predict", "clip.mp4", "-o", "out")
    assert Path("out/overlays/clip.mp4").stat().st_size > 0


def ray():
    import json

    Path("photos.csv").write_text(f"id,uri\na,{cat()}\n", encoding="utf-8")
    command("predict", "photos.csv", "-o", "out", "--on", "ray")
    (line,) = Path("out/status.jsonl").read_text(encoding="utf-8").splitlines()
    assert not json.loads(line).get("error")


def serve():
    import re

    server = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        url = re.search(r"http://[^ ]+", server.stdout.readline())[0]
        assert upscore.Client(url)(cat()).areas["cat"] > 0.4
    finally:
        server.terminate()
        server.wait(30)


def evaluate():
    absent("torch")
    assert "mean IoU" in command("evaluate", photos(2), "--split", "all", "--report", "report")
    assert Path("report/report.html").is_file()


def torch():
    import torch

    absent("torchvision", "timm", "PIL")
    tensor = torch.from_numpy(scores()).requires_grad_()
    upscore.cross_entropy(tensor, torch.zeros((1, 8, 10), dtype=torch.long)).backward()
    assert tensor.grad.abs().sum() > 0
    layer = upscore.nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1)
    assert layer(tensor).shape == (1, 2, 8, 10)


def network():
    absent("onnxruntime", "typer")
    found = upscore.Predictor(engine="torch")(cat())
    assert found.areas["cat"] > 0.4


def export():
    command("export", "bundled", "-o", "model.onnx")
    assert Path("model.onnx").stat().st_size > 1 << 20


def train():
    tiny = "encoder=test_efficientnet pretrained=False frozen_norm=False width=8 crop=64"
    changes = [word for one in tiny.split() for word in ("--set", one)]
    command("train", photos(6), "-o", "run", "--steps", 2, *changes)
    assert "mean IoU" in command("evaluate", "data", "--model", "run")


def integrations():
    for module in ("onnx", "onnxruntime", "openvino"):
        importlib.import_module(module)
    for library in ("monai", "segmentation_models_pytorch", "torchvision", "transformers"):
        with upscore.compat.patch(library) as patch:
            assert patch.replaced


if __name__ == "__main__":
    globals()[sys.argv[1]]()
