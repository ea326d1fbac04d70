"""Libraries that need not be installed: the real ones where they are, and made ones."""

import sys
import warnings
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

import pytest

from upscore.compat import patching


@pytest.fixture
def installed():
    """Import a module of the library that is installed, or skip the test and say why."""

    def get(module):
        library = module.partition(".")[0]
        tested = import_module(f"upscore.compat.{library}").TESTED
        try:
            found = version(library)
        except PackageNotFoundError:
            pytest.skip(f"{library} is not installed; its steps written out are tested instead")
        if not f"{found}.".startswith(f"{tested}."):
            pytest.skip(f"{library} {found} is not {tested}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs
            return import_module(module)

    return get


@pytest.fixture
def made(monkeypatch):
    """Put a library of these modules and their names where the real one would be."""

    def make(library, modules):
        ours = import_module(f"upscore.compat.{library}")
        monkeypatch.setattr(patching, "version", lambda name: ours.TESTED)
        for name in ("", *modules):
            whole = f"{library}.{name}".rstrip(".")
            module = ModuleType(whole)
            module.__path__ = []
            vars(module).update(modules.get(name, {}))
            monkeypatch.setitem(sys.modules, whole, module)
        return [sys.modules[f"{library}.{name}"] for name in modules]

    return make
