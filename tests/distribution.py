"""Building the package as it is published, and environments that hold nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_UV = shutil.which(
    "uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
)


def uv(*arguments: object) -> None:
    """Run uv quietly; its words are the failure's."""
    if _UV is None:
        pytest.skip("uv is not installed (make test installs it)")
    done = subprocess.run(
        [_UV, *map(str, arguments), "--quiet"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def build(source: Path, out: Path, kind: str) -> Path:
    """The one file, "wheel" or "sdist", that is built from a folder or an sdist."""
    uv("build", source, f"--{kind}", "--out-dir", out)
    (built,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


class Environment:
    """A virtual environment, and the package in it."""

    def __init__(self, folder: Path, version: str) -> None:
        uv("venv", "--python", version, folder)
        self.python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"

    def install(self, wheel: Path, extra: str = "", *more: str) -> None:
        """Let it hold the wheel, what one extra brings, and no other package."""
        wanted = f"upscore[{extra}]" if extra else "upscore"
        where = "--python", self.python, "--constraint", ROOT / "constraints.txt"
        uv("pip", "install", "--exact", *where, f"{wanted} @ {wheel.as_uri()}", *more)

    def run(self, *arguments: object, cwd: Path) -> str:
        """What Python prints; no import finds the checkout or this environment."""
        own = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        done = subprocess.run(
            [self.python, *map(str, arguments)], cwd=cwd, env=own, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
