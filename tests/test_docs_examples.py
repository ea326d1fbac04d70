"""The examples in the documentation, run."""

import doctest
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [
    page.relative_to(DOCS).as_posix()
    for page in sorted(DOCS.rglob("*.md"))
    if ">>> " in page.read_text("utf-8")
]


@pytest.mark.parametrize("name", PAGES)
def test_examples(name):
    # A closing fence would be read as output: leave its line empty.
    text = (DOCS / name).read_text("utf-8").replace("```", "")
    examples = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(examples).failed == 0


def test_there_are_examples():
    assert {"explanation/geometry.md", "explanation/tensorflow.md"} <= set(PAGES)
