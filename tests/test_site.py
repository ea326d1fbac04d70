"""The documentation site builds without a warning, and every page is in its navigation."""

import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SITE = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]


def pages(entry):
    """The pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    return (
        [page for part in entry for page in pages(part)]
        if isinstance(entry, list)
        else [page for part in entry.values() for page in pages(part)]
    )


def test_the_navigation_has_every_page_once():
    docs = ROOT / "docs"
    written = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    assert sorted(pages(SITE["nav"])) == written


def test_the_site_builds(tmp_path):
    if find_spec("zensical") is None:
        pytest.skip("zensical is not installed (pip install 'upscore[docs]')")
    for name in ("docs", "src"):  # names of the package are read from src
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in pages(SITE["nav"]):
        path = Path("site", page).with_suffix("")
        made = path.parent if path.name == "index" else path
        assert "<title>" in (tmp_path / made / "index.html").read_text(encoding="utf-8"), page
