"""What is published: the lists of files in the wheel and the source distribution."""

import re
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import upscore
from distribution import ROOT, build

pytestmark = pytest.mark.slow

MOST_BYTES = 2_000_000  # of the wheel, without weights
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCE = Path(upscore.__file__).parent
# What the tests and the site need besides the package.
KEPT = (
    *("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"),
    *("SECURITY.md", "constraints.txt", "pyproject.toml", "zensical.toml"),
    *("benchmarks/heads.py", "deploy/Dockerfile", "docs/dependencies.md", "docs/guides/heads.md"),
    *("tests/conftest.py", "tests/golden/tensorflow_conv.npz", "tools/bundle.py"),
)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


def sizes(wheel):
    """Name -> compressed bytes of a wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.compress_size for info in archive.infolist()}


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    here = {
        f"upscore/{path.relative_to(SOURCE).as_posix()}"
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    about = f"upscore-{upscore.__version__}.dist-info/"
    found = set(sizes(wheel))
    assert {name for name in found if not name.startswith(about)} == here
    files = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    assert {name for name in found if name.startswith(about)} == {about + file for file in files}
    # Guards the comparison above, should a file vanish from the checkout.
    for name in ("py.typed", "serving/page/index.html", "explanation/web/index.html"):
        assert f"upscore/{name}" in found
    assert "upscore/images/photos/LICENCES.md" in found


def test_the_wheel_is_small_but_for_the_weights(wheel):
    weights = [name for name in sizes(wheel) if name.endswith(".safetensors")]
    assert len(weights) == 1
    assert sum(sizes(wheel).values()) - sizes(wheel)[weights[0]] < MOST_BYTES


def test_the_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        about = f"upscore-{upscore.__version__}.dist-info/"
        found = message_from_bytes(archive.read(f"{about}METADATA"))
        assert b"upscore.__main__:main" in archive.read(f"{about}entry_points.txt")
    assert found["Version"] == upscore.__version__
    assert found["License-Expression"] == "Apache-2.0"
    pythons = {
        one.rpartition(" ")[2]
        for one in found.get_all("Classifier")
        if one.startswith("Programming Language :: Python :: 3.")
    }
    assert pythons == {"3.11", "3.12", "3.13"}
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in pythons


def test_the_source_distribution_holds_what_its_tests_need(sdist):
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    assert set(KEPT) <= found
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    assert tests <= found
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= found
    assert not [
        name for name in found if "__pycache__" in name or name.startswith((".venv", "site/"))
    ]


def test_the_source_distribution_makes_the_same_wheel(sdist, wheel, tmp_path):
    assert sizes(build(sdist, tmp_path, "wheel")) == sizes(wheel)


def test_every_extra_is_documented():
    rows = first_cells("dependencies.md")
    assert set(PROJECT["optional-dependencies"]) <= rows


@pytest.mark.parametrize("page", ["dependencies.md", "licences.md"])
def test_every_package_is_documented(page):
    named = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
    packages = {re.match("[A-Za-z0-9_.-]+", one)[0] for one in named} - {"upscore"}
    assert packages <= first_cells(page)


def first_cells(page):
    """What the first cells of a page's tables name."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    cells = [line.split("|")[1] for line in lines if line.startswith("|")]
    return {name for cell in cells for name in re.findall("[A-Za-z0-9_.-]+", cell)}
