"""Pictures from a million to a thousand million pixels: speed and peak memory against other ways.

    python benchmarks/scenes.py [--only TEXT] [--megapixels N ...] [--json PATH]

Install the peers with `pip install 'upscore[bench,rasters]'`. The pictures are GeoTIFFs tiled with
the package's own photos, at the scale that the bundled model knows. `upscore` goes from the file to
a label raster with overviews, as `upscore predict --tile auto` does. `whole` reads all of it, runs
the same network on it at once with ONNX Runtime, interpolates the scores of all classes to the
picture's size and takes the argmax. `MONAI` reads all of it and runs the same network in torch
through `sliding_window_inference` on windows of 1024 pixels, overlapping by a quarter, then argmax.
Neither of them writes a file. Every way runs in a process of its own, once, under a limit of
address space; `out of memory` is a result. `MB` is the process's peak, libraries included.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from _timing import arguments, show, write

MEGAPIXELS = (1, 10, 100, 1000)
LIMIT = 18 << 30  # bytes of address space that a way may ask for
BLOCK = 512


def make(path: Path, side: int) -> None:
    """A GeoTIFF of side x side pixels, of the package's photos side by side."""
    import rasterio
    from rasterio.windows import Window

    from upscore.images import read, resized, samples

    tiles = [resized(read(p), (BLOCK, BLOCK)).transpose(2, 0, 1) for p in samples().values()]
    profile = {
        "driver": "GTiff",
        "height": side,
        "width": side,
        "count": 3,
        "dtype": "uint8",
        "tiled": True,
    }
    profile |= {
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "jpeg",
        "photometric": "YCbCr",
    }
    transform = rasterio.Affine(0.1, 0, 500_000, 0, -0.1, 5_000_000)
    profile |= {"crs": "EPSG:32633", "transform": transform, "BIGTIFF": "IF_SAFER"}
    with rasterio.open(path, "w", **profile) as out:
        for top in range(0, side, BLOCK):
            for left in range(0, side, BLOCK):
                height, width = min(BLOCK, side - top), min(BLOCK, side - left)
                tile = tiles[(top + 3 * left) // BLOCK % len(tiles)]
                out.write(tile[:, :height, :width], window=Window(left, top, width, height))


def read_whole(path: Path) -> Any:
    """All pixels of a picture."""
    import rasterio

    with rasterio.open(path) as source:
        return np.ascontiguousarray(source.read().transpose(1, 2, 0))


def by_upscore(path: Path) -> None:
    """From file to file, window by window."""
    from upscore.prediction.scenes.predict import predict_scenes

    with tempfile.TemporaryDirectory(dir=path.parent) as out:
        summary = predict_scenes([path], out, scale=1.0, progress=False)
        assert not summary.failed, summary.failed


def whole(path: Path) -> None:
    """The usual way: the whole picture through the network, all scores at full size, argmax."""
    import torch
    from torch.nn import functional as F

    import upscore

    photo = read_whole(path)
    scores = torch.from_numpy(np.asarray(upscore.load().scores(photo[None])))
    F.interpolate(scores, photo.shape[:2], mode="bilinear").argmax(1).to(torch.uint8)


def monai(path: Path) -> None:
    """MONAI's windows, which overlap and are blended at full size."""
    import torch
    from monai.inferers import sliding_window_inference
    from torch.nn import functional as F

    import upscore

    segmenter = upscore.load(engine="torch")
    # MONAI sums in the type of what it is given.
    photo = torch.from_numpy(read_whole(path)).permute(2, 0, 1)[None].float()

    def network(windows: torch.Tensor) -> torch.Tensor:
        scores = segmenter.engine.scores(windows.byte().permute(0, 2, 3, 1).contiguous().numpy())
        return F.interpolate(scores, windows.shape[-2:], mode="bilinear")

    sliding_window_inference(photo, (1024, 1024), 1, network, overlap=0.25).argmax(1)


WAYS: dict[str, Callable[[Path], None]] = {"upscore": by_upscore, "whole": whole, "MONAI": monai}


def run_here(way: str, path: Path) -> None:
    """Run one way in this process and print what it took."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    WAYS[way](path.with_name("small.tif"))  # compiles and warms
    start = time.perf_counter()
    WAYS[way](path)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "MB": peak}))


def measure(way: str, path: Path) -> dict[str, float] | str:
    """Run one way in a process of its own."""
    command = [sys.executable, __file__, "--here", way, str(path)]
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode == 0:
        found: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
        return found
    if "memory" in child.stderr.lower() or child.returncode < 0:
        return "out of memory"
    raise SystemExit(child.stderr)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--megapixels", type=int, nargs="*", default=MEGAPIXELS)
    parser.add_argument("--here", nargs=2, metavar=("WAY", "PATH"), help="used by itself")
    options = parser.parse_args()
    if options.here:
        run_here(options.here[0], Path(options.here[1]))
        return
    rows: list[dict[str, Any]] = []
    failed: set[str] = set()  # a larger picture would not fit either
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder, "small.tif"), 600)
        for megapixels in options.megapixels:
            path = Path(folder, f"{megapixels}.tif")
            make(path, side := round(1000 * megapixels**0.5))
            row: dict[str, Any] = {"picture": f"{side} x {side}"}
            for way in (way for way in WAYS if options.only in way):
                found = "out of memory" if way in failed else measure(way, path)
                if isinstance(found, str):
                    failed.add(way)
                    row |= {f"{way} MP/s": found, f"{way} MB": ""}
                else:
                    rate = side * side / 1e6 / found["seconds"]
                    row |= {f"{way} MP/s": rate, f"{way} MB": found["MB"]}
            path.unlink()
            rows.append(row)
            show("Pictures by windows", rows)
    if options.json:
        write(options.json, rows=rows)


if __name__ == "__main__":
    main()
