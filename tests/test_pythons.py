"""The wheel with other versions of Python: it installs by constraints.txt, labels and trains."""

import shutil
import subprocess
import sys

import pytest

import extras
from distribution import ROOT, Environment, build

VERSIONS = ("3.11", "3.12", "3.13")
OTHERS = [one for one in VERSIONS if one != f"{sys.version_info.major}.{sys.version_info.minor}"]

pytestmark = pytest.mark.release


def interpreter(version):
    """Where a version of Python is, by PATH or by pyenv, which may have several of it."""
    named = f"python{version}"
    found = [shutil.which(named), *pyenv(version)]
    for path in filter(None, found):
        if subprocess.run([path, "--version"], capture_output=True).returncode == 0:
            return path
    pytest.skip(f"{named} is not installed")


def pyenv(version):
    """The interpreters of a version that pyenv has."""
    if shutil.which("pyenv") is None:
        return []
    listed = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True)
    root = subprocess.run(["pyenv", "root"], capture_output=True, text=True).stdout.strip()
    return [
        f"{root}/versions/{name}/bin/python"
        for name in listed.stdout.split()
        if name.startswith(f"{version}.")
    ]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.mark.parametrize("version", OTHERS)
def test_the_wheel(version, wheel, tmp_path):
    environment = Environment(tmp_path / "env", interpreter(version))
    for extra in ("predict", "train"):
        environment.install(wheel, extra)
        (tmp_path / extra).mkdir()
        environment.run(extras.__file__, extra, cwd=tmp_path / extra)
