"""The tutorials, page by page, as a reader would follow them: in order, in a fresh folder."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
# A page that needs more than code and commands, such as a data set, has a test of its own.
PAGES = {
    "segment": ["onnxruntime"],
    "last-step": ["torch", "transformers", "segmentation_models_pytorch"],
}
BLOCK = re.compile(r"^```(python|console|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?upscore (.*)$", re.MULTILINE)


def program(page):
    """Every block of the page, in order: Python as it stands, commands by this interpreter."""
    parts = ["import subprocess as _subprocess, sys as _sys\n"]
    for language, block in BLOCK.findall(page):
        if language == "python":
            parts.append(block)
            continue
        for command in COMMAND.findall(block):
            words = ["-m", "upscore", *shlex.split(command, comments=True)]
            parts.append(f"_subprocess.run([_sys.executable, *{words!r}], check=True)\n")
    return "\n".join(parts)


def follow(page, folder):
    """Run a page's program in the folder, without downloads."""
    file = folder / "page.py"
    file.write_text(program(page), "utf-8")
    return subprocess.run(
        [sys.executable, file],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", PAGES)
def test_the_tutorial_runs(name, tmp_path):
    missing = [module for module in PAGES[name] if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (pip install upscore[integrations])")
    page = (ROOT / "docs" / "tutorials" / f"{name}.md").read_text("utf-8")
    assert COMMAND.search(page) or "upscore." in page
    done = follow(page, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(float(share) > 99.99 for share in re.findall(r"equal \w+: (.*)%", done.stdout))


def test_blocks_share_names_and_failures_are_seen(tmp_path):
    fence = "```"
    good = f"{fence}python\nx = 1\n{fence}\n\n{fence}console\n$ upscore --help\nUsage:\n{fence}\n"
    good += f"{fence}python\nprint(x)\n{fence}\n"
    assert follow(good, tmp_path).stdout.endswith("\n1\n")
    bad = f"{fence}sh\nupscore predict nowhere.jpg -o out  # no such file\n{fence}\n"
    assert follow(bad, tmp_path).returncode != 0
