"""The code of docs/integrations, page by page, as a reader would run it."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PAGES = {
    "huggingface": ["torch", "transformers"],
    "segmentation-models-pytorch": ["torch", "segmentation_models_pytorch"],
    "torchvision": ["torch", "torchvision"],
    "onnxruntime": ["onnx", "onnxruntime"],
    "openvino": ["openvino"],
    "detectron2": ["torch"],
    "monai": ["torch", "monai"],
    "nnunetv2": ["torch"],
    "segment-anything": ["torch", "segment_anything"],
    "ultralytics": ["torch"],
}
WITHOUT_TORCH = ["onnxruntime", "openvino"]


def code(page: str) -> str:
    """Every Python block of the page, in order, as one program."""
    text = (ROOT / "docs" / "integrations" / f"{page}.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert any("upscore." in block for block in blocks)
    return "\n".join(blocks)


def run(python: str | Path, program: str, folder: Path) -> str:
    """Run the program in the folder; downloads are off."""
    result = subprocess.run(
        [python, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def need(modules: list[str]) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (pip install upscore[integrations])")


def test_every_page_is_run() -> None:
    pages = {page.stem for page in (ROOT / "docs" / "integrations").glob("*.md")}
    assert pages == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_the_page_runs(page: str, tmp_path: Path) -> None:
    need(PAGES[page])
    absent = "import sys; sys.modules['torch'] = None\n" if page in WITHOUT_TORCH else ""
    run(sys.executable, absent + code(page), tmp_path)


def test_the_numpy_pages_run_where_torch_is_not_installed(tmp_path: Path) -> None:
    """In a fresh environment of NumPy, Numba and the runtimes, made from uv's cache alone."""
    uv = shutil.which(
        "uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    )
    if uv is None:
        pytest.skip("uv is not installed (make test installs it)")
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    packages = ["numpy", "numba", *PAGES["onnxruntime"], *PAGES["openvino"]]
    install = [uv, "pip", "install", "-q", "--offline", "--python", python, *packages]
    install += ["--constraint", ROOT / "constraints.txt"]
    installed = subprocess.run(install, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"uv has not all of {', '.join(packages)} in its cache: {installed.stderr}")
    torch_less = "import importlib.util\nassert importlib.util.find_spec('torch') is None\n"
    for page in WITHOUT_TORCH:
        run(python, torch_less + code(page), tmp_path)
