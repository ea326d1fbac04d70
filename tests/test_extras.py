"""Each extra alone, from the wheel, in an environment that holds nothing else: is it of use?"""

import sys
import tomllib

import pytest

import extras
from distribution import ROOT, Environment, build

pytestmark = pytest.mark.slow

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOR_DEVELOPERS = {"bench", "docs", "test"}
EXTRAS = ["none", *(set(PROJECT["optional-dependencies"]) - FOR_DEVELOPERS)]
# One environment changes from extra to extra. In this order little is removed from it again.
# All take minutes; those that most people install are enough for every day.
EVERY_DAY = ["none", "fast", "predict", "serve", "export"]
FOR_RELEASES = [
    *("masks", "openvino", "video", "ray", "evaluate", "bands", "rasters", "slides"),
    *("torch", "network", "train", "integrations"),
]
ORDER = [
    *(pytest.param(name, marks=pytest.mark.slow) for name in EVERY_DAY),
    *(pytest.param(name, marks=[pytest.mark.slow, pytest.mark.release]) for name in FOR_RELEASES),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("environment") / "env", sys.executable)


def test_every_extra_is_tried():
    assert sorted(EVERY_DAY + FOR_RELEASES) == sorted(EXTRAS)


@pytest.mark.parametrize("extra", ORDER)
def test_an_extra_alone(extra, wheel, environment, tmp_path):
    environment.install(wheel, "" if extra == "none" else extra)
    environment.run(extras.__file__, extra, cwd=tmp_path)
