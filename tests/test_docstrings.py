"""The reference: it has every public name, and each docstring says what a caller needs."""

import re
import sys
import tomllib
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path

import griffe
import pytest

import upscore

ROOT = Path(__file__).parent.parent
PAGES = {page.name: page.read_text("utf-8") for page in (ROOT / "docs/reference").glob("*.md")}
SHOWN = {name for page in PAGES.values() for name in re.findall(r"^::: (\S+)", page, re.M)}
# Public names of these modules are on a page too; of the others, what the pages choose.
MODULES = ("data", "definition", "filters", "geometry", "images", "models", "nn")
FIELDS_OF_A_RECIPE = {"upscore.plan", "upscore.train"}  # whose keyword arguments are those

SITE = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
OPTIONS = SITE["project"]["plugins"]["mkdocstrings"]["handlers"]["python"]["options"]
PACKAGE = griffe.load("upscore", search_paths=[ROOT / "src"])


def documented(shown, path):
    """What the reference shows of a name: itself, and its public members."""
    found = shown.final_target if shown.is_alias else shown
    if found.is_attribute and "property" not in found.labels:
        return
    if not found.is_module:
        yield path, found
    if found.is_module or found.is_class:
        for name, member in found.members.items():
            if (not name.startswith("_") or name == "__call__") and not member.is_alias:
                yield from documented(member, f"{path}.{name}")


EVERYTHING = {
    path: found
    for name in sorted(SHOWN)
    for path, found in documented(PACKAGE[name.removeprefix("upscore.")], name)
}


def faults(found, *, example=False):
    """What the docstring of a function, class or property lacks, in words."""
    if found.docstring is None:
        return ["no docstring"]
    sections = found.docstring.parse(
        OPTIONS["docstring_style"], warnings=False, **OPTIONS["docstring_options"]
    )
    kinds = {section.kind.value: section.value for section in sections}
    text = "\n".join(section.value for section in sections if section.kind.value == "text")
    wrong = [] if text else ["no sentence"]
    if ">>> " in text:
        wrong.append("an example outside of Examples, which the site shows as a quotation")
    if example and "examples" not in kinds:
        wrong.append("no Examples")
    if found.is_attribute:
        return wrong
    takes = {one.name for one in found.parameters} - {"self"}
    named = {one.name.strip("*") for one in kinds.get("parameters", ())}
    fields = {one.name for one in kinds.get("attributes", ())}
    if found.is_class:
        fields |= {name for name, member in found.members.items() if member.docstring}
    wrong += [f"Args lacks {name}" for name in sorted(takes - named - fields)]
    wrong += [f"Args has {name}, which is no parameter" for name in sorted(named - takes)]
    returns = found.is_function and str(found.returns or "None") != "None"
    if returns and not {"returns", "yields"} & kinds.keys():
        wrong.append("no Returns")
    return wrong


@pytest.mark.parametrize("path", EVERYTHING)
def test_docstring_says_what_a_caller_needs(path):
    found = EVERYTHING[path]
    example = found.is_function and path.removeprefix("upscore.") in upscore.__all__
    assert not faults(found, example=example)


def test_faults_are_found():
    code = (
        "def bare(x): ...\n"
        "def half(x: int, y: int) -> int:\n"
        '    """Say.\n\n    Args:\n        x: it.\n        z: no.\n\n    >>> half(1, 2)\n    """\n'
    )
    module = griffe.visit("module", filepath=Path("module.py"), code=code)
    assert faults(module["bare"]) == ["no docstring"]
    assert faults(module["half"], example=True) == [
        "an example outside of Examples, which the site shows as a quotation",
        "no Examples",
        "Args lacks y",
        "Args has z, which is no parameter",
        "no Returns",
    ]


@pytest.mark.parametrize("path", EVERYTHING)
def test_signature_hides_no_argument(path):
    found = EVERYTHING[path]
    kinds = set() if found.is_attribute else {one.kind for one in found.parameters}
    assert griffe.ParameterKind.var_positional not in kinds
    assert griffe.ParameterKind.var_keyword not in kinds or path in FIELDS_OF_A_RECIPE


def test_every_public_name_is_on_a_page():
    names = {f"upscore.{name}" for name in upscore.__all__} - {"upscore.__version__"}
    assert names - {"upscore.UpscoreError"} <= SHOWN
    assert "upscore.errors" in SHOWN
    assert [name for name in upscore.__all__ if f"`{name}`" not in PAGES["index.md"]] == []


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_of_a_module_is_on_a_page(module):
    targets = {EVERYTHING[name].path for name in SHOWN & EVERYTHING.keys()}
    assert {f"{one.__module__}.{one.__qualname__}" for one in offered(module)} <= targets


def offered(name):
    """The functions and classes that a module offers, but errors."""
    module = import_module(f"upscore.{name}")
    own = [key for key, value in vars(module).items() if key[0] != "_" and _home(value) == module]
    for value in (getattr(module, key) for key in getattr(module, "__all__", own)):
        if isfunction(value) or (isclass(value) and not issubclass(value, upscore.UpscoreError)):
            yield value


def _home(value):
    return sys.modules.get(getattr(value, "__module__", None))
