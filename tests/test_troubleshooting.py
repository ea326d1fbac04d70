"""The messages that docs/troubleshooting.md explains are still those of the package."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
MESSAGES = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)
CHANGES = "\0"  # a part of a text that is filled in


def texts(tree: ast.AST) -> Iterator[str]:
    """Every text in a program, with one mark for each part that is filled in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else CHANGES
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def all_texts() -> str:
    files = sorted((ROOT / "src").rglob("*.py"))
    return "\n\n".join(text for file in files for text in texts(ast.parse(file.read_text("utf-8"))))


def said(message: str) -> bool:
    """Whether some text of the package has the fixed words of a message, in their order."""
    fixed = [re.escape(words.strip()) for words in message.split("...") if words.strip()]
    return re.search(r"[^\n]*".join(fixed), all_texts()) is not None


@pytest.mark.parametrize("message", MESSAGES)
def test_the_message_is_one_of_the_package(message):
    assert said(message)


def test_what_no_code_says_is_found_out():
    assert said("no split ...; it has")
    assert not said("no split ...; it had")
    assert not said("; it has ...no split")


def test_no_message_is_explained_twice():
    assert 35 <= len(MESSAGES) == len(set(MESSAGES))
