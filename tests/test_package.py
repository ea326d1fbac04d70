"""The package as a whole: its public names, what importing it costs, who imports whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import upscore

SOURCE = Path(upscore.__file__).parent

# Each module may import from its own tier and those before it; leaves import only leaves.
TIERS = (
    {"geometry", "filters"},
    {"definition"},
    {"conv", "heads"},
    {"nn"},
    {"models"},
    {"upsample", "compat", "explain"},
    {"evaluate", "predict", "train", "report", "objective", "batches", "runs"},
    {"cli"},
)
LEAVES = {
    "ahead": set(),
    "files": set(),
    "images": set(),
    "jit": set(),
    "memory": set(),
    "vectors": set(),
    "metrics": set(),
    "recipes": set(),
    "data": {"images"},
    "overlay": set(),
}
# Heavy or special libraries, and the only files that may import them.
ONLY_IN = {
    "timm": {"models/encoder.py"},
    "numba": {"jit.py", "vectors.py"},
    "triton": {"heads/gpu.py", "heads/gpu_labels.py", "heads/gpu_loss.py"},
    "accelerate": {"train.py"},
    "tensorflow": set(),
}


def imports(path):
    """Modules a file imports, wherever it does, but for type checking."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            if node.module == "upscore":
                yield from (f"upscore.{alias.name}" for alias in node.names)
            else:
                yield node.module


def files():
    return sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", files(), ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_import_directions(path):
    relative = path.relative_to(SOURCE)
    own = relative.parts[0].removesuffix(".py")
    if own == "__init__":
        return
    tier = {name: i for i, names in enumerate(TIERS) for name in names}
    assert own in tier or own in LEAVES, f"{relative} has no place in the architecture"
    for module in imports(path):
        top = module.split(".")[0]
        if top in ONLY_IN:
            assert relative.as_posix() in ONLY_IN[top], f"{relative} imports {top}"
        if top != "upscore" or module.count(".") == 0:
            continue
        other = module.split(".")[1]
        if other in (own, "__version__"):
            continue
        if own in LEAVES:
            assert other in LEAVES[own], f"the leaf {relative} imports {module}"
        elif other in tier:
            assert tier[other] <= tier[own], f"{relative} imports {module}, which is above it"


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_importing_needs_numpy_alone():
    loaded = run("import sys, upscore; upscore.__dir__(); print(*sys.modules)").split()
    heavy = {"torch", "numba", "timm", "PIL", "rich", "typer", "scipy", "triton", "torchvision"}
    assert not heavy & {name.split(".")[0] for name in loaded}


def test_numpy_arrays_need_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; import numpy as np, upscore\n"
        "scores = np.random.default_rng(0).normal(size=(3, 4, 5)).astype('f')\n"
        "print(upscore.argmax(scores, size=(9, 11)).shape)\n"
        "print(upscore.conv_transpose2d(scores[None], scores.reshape(3, 4, 5, 1)).shape)"
    )
    assert run(code).split("\n")[:2] == ["(9, 11)", "(1, 4, 8, 5)"]


def test_public_names_resolve_and_nothing_else_is_public():
    for name in upscore.__all__:
        assert getattr(upscore, name) is not None
    assert set(upscore._HOME) == set(upscore.__all__) - {"__version__"}
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        upscore.nonsense  # noqa: B018


def test_functions_are_not_shadowed_by_the_modules_that_hold_them():
    code = (
        "import upscore.training.train, upscore.evaluation.evaluate, upscore.explanation.layers, upscore.upsampling\n"
        "names = 'train', 'evaluate', 'explain', 'upsample'\n"
        "print(*[callable(getattr(upscore, name)) for name in names])"
    )
    assert run(code).split() == ["True"] * 4


def test_version_is_the_packages():
    from importlib.metadata import version

    assert upscore.__version__ == version("upscore")
