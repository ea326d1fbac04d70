"""The package as a whole: its public names, what importing it costs, who imports whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import upscore

SOURCE = Path(upscore.__file__).parent

# A file may import from its own room and from those before it. Leaves stand beside all of them.
ROOMS = (
    {"errors", "version"},
    {"arrays", "geometry", "io", "kernels"},
    {"filters"},
    {"definition"},
    {"conv", "heads"},
    {"nn", "upsampling", "compat"},
    {"models"},
    {"inference", "explanation"},
    {"prediction", "evaluation"},
    {"exporting"},
    {"training"},
    {"serving"},
    {"cli"},
    {"__init__"},
    {"__main__"},
)
LEAVES = {
    "images": {"errors", "io"},
    "data": {"errors", "io", "images"},
    "rasters": {"errors", "io", "images"},
}
# Heavy or special libraries, and the only files and folders that may import them.
ONLY_IN = {
    "timm": {"models/encoder.py", "models/folding.py", "models/pretrained.py"},
    "tifffile": {"images/tiff.py", "rasters/readers"},
    "rasterio": {"rasters"},
    "zarr": {"rasters"},
    "openslide": {"rasters"},
    "pyogrio": {"rasters"},
    "av": {"prediction/video"},
    "ray": {"prediction/ray.py"},
    "numba": {"kernels"},
    "llvmlite": {"kernels"},
    "triton": {
        "heads/gpu.py",
        "heads/argmax/gpu.py",
        "heads/cross_entropy/gpu.py",
        "heads/masks/gpu.py",
        "heads/overlap/gpu.py",
    },
    "transformers": set(),
    "detectron2": set(),
    "monai": set(),
    "nnunetv2": set(),
    "segment_anything": set(),
    "segmentation_models_pytorch": set(),
    "ultralytics": set(),
    "accelerate": {"training"},
    "onnx": {"models/graph.py", "exporting"},
    "onnxscript": {"models/graph.py"},
    "onnxruntime": {"inference/engines/onnxruntime.py", "exporting"},
    "openvino": {"inference/engines/openvino.py", "exporting"},
    "matplotlib": {"evaluation/report.py", "training/run.py", "training/rates.py"},
    "tensorflow": set(),
    "fastapi": {"serving"},
    "prometheus_client": {"serving"},
    "starlette": {"serving"},
    "uvicorn": {"serving"},
}
FILES = {path.relative_to(SOURCE).as_posix(): path for path in sorted(SOURCE.rglob("*.py"))}


def file_of(module):
    """The file that holds a module of the package, or None."""
    inside = module.removeprefix("upscore").strip(".").replace(".", "/")
    names = (f"{inside}.py", f"{inside}/__init__.py".lstrip("/"))
    return next((name for name in names if name in FILES), None)


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
            if node.module.split(".")[0] == "upscore":
                for alias in node.names:  # a module of that package, or a name within it
                    inner = f"{node.module}.{alias.name}"
                    yield inner if file_of(inner) else node.module
            else:
                yield node.module


def own_imports(name):
    """The files of the package that a file imports; the public names of `__init__` count too."""
    found = {file_of(m) for m in imports(FILES[name]) if m.split(".")[0] == "upscore"}
    if name == "__init__.py":
        found |= {file_of(module) for module in upscore._HOME.values()}
    return found - {None}


@pytest.mark.parametrize("name", FILES)
def test_import_directions(name):
    room = name.split("/")[0].removesuffix(".py")
    floor = {name: i for i, names in enumerate(ROOMS) for name in names}
    assert room in floor or room in LEAVES, f"{name} has no place in the architecture"
    for module in imports(FILES[name]):
        top = module.split(".")[0]
        if top in ONLY_IN:
            allowed = any(name == one or name.startswith(f"{one}/") for one in ONLY_IN[top])
            assert allowed, f"{name} imports {top}"
    for other in own_imports(name):
        theirs = other.split("/")[0].removesuffix(".py")
        if theirs == room:
            continue
        if room in LEAVES:
            assert theirs in LEAVES[room], f"the leaf {name} imports {other}"
        elif theirs not in LEAVES:
            assert floor[theirs] <= floor[room], f"{name} imports {other}, which is above it"


def test_no_circles():
    graph = {name: own_imports(name) for name in FILES}
    assert circle(graph) is None
    # The search finds one where there is one.
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c", "b"]


def circle(graph):
    """A path that ends where it begins, or None."""
    done = set()

    def walk(name, path):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for other in sorted(graph[name]):
            if found := walk(other, [*path, name]):
                return found
        done.add(name)
        return None

    return next((found for name in sorted(graph) if (found := walk(name, []))), None)


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_importing_needs_numpy_alone():
    loaded = run("import sys, upscore; upscore.__dir__(); print(*sys.modules)").split()
    heavy = {"torch", "numba", "timm", "PIL", "rich", "typer", "scipy", "triton", "torchvision"}
    heavy |= {"onnx", "onnxruntime", "openvino", "safetensors"}
    assert not heavy & {name.split(".")[0] for name in loaded}


def test_numpy_arrays_need_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; import numpy as np, upscore\n"
        "scores = np.random.default_rng(0).normal(size=(3, 4, 5)).astype('f')\n"
        "print(upscore.argmax(scores, size=(9, 11)).shape)\n"
        "print(upscore.assign(scores, [1, 1, 1], size=(9, 11)).labels.shape)\n"
        "print(upscore.conv_transpose2d(scores[None], scores.reshape(3, 4, 5, 1)).shape)"
    )
    assert run(code).split("\n")[:3] == ["(9, 11)", "(9, 11)", "(1, 4, 8, 5)"]


PUBLIC = {
    *("Client", "Predictor", "Segmenter", "UpscoreError", "__version__", "argmax", "assign"),
    *("bilinear_filter", "binary_cross_entropy", "confusion", "conv_transpose1d"),
    *("conv_transpose2d", "conv_transpose3d", "cross_entropy", "dice", "evaluate", "explain"),
    *(
        "export",
        "jaccard",
        "load",
        "masks",
        "overlap",
        "plan",
        "serve",
        "train",
        "tversky",
        "upsample",
    ),
}


def test_public_names_resolve_and_nothing_else_is_public():
    assert set(upscore.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(upscore, name) is not None
    assert set(dir(upscore)) >= PUBLIC
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        upscore.nonsense  # noqa: B018


def test_every_error_is_an_upscore_error_and_a_builtin_one():
    from upscore import errors

    builtin = (ValueError, TypeError, OSError, ImportError, NotImplementedError)
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(kinds) > 5
    for kind in set(kinds) - {errors.UpscoreError}:
        assert issubclass(kind, errors.UpscoreError)
        assert issubclass(kind, builtin), kind
    # Nothing else is raised on purpose, but what Python's own protocols ask for.
    protocols = {"AttributeError", "AssertionError", "NotImplementedError", "MemoryError"}
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            raised = node.exc if isinstance(node, ast.Raise) else None
            call = raised.func if isinstance(raised, ast.Call) else None
            if isinstance(call, ast.Name) and call.id.endswith("Error"):
                assert hasattr(errors, call.id) or call.id in protocols, f"{name} raises {call.id}"


@pytest.mark.slow
def test_functions_are_not_shadowed_by_the_modules_that_hold_them():
    code = (
        "import upscore.training.train, upscore.training.plan, upscore.evaluation.evaluate\n"
        "import upscore.explanation.explain, upscore.upsampling, upscore.exporting.export\n"
        "names = 'train', 'plan', 'evaluate', 'explain', 'upsample', 'export'\n"
        "print(*[callable(getattr(upscore, name)) for name in names])"
    )
    assert run(code).split() == ["True"] * 6


def test_version_is_the_packages():
    from importlib.metadata import version

    assert upscore.__version__ == version("upscore")
