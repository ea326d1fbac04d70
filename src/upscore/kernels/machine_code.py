"""Machine code on disk: kept after it was compiled, and loaded without Numba.

A file holds a line of JSON and an object file. The line says what the code was made from and what
it calls; code that does not fit is compiled again, and replaced.
"""

import ctypes
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from upscore.errors import MissingPackageError
from upscore.io.atomic import write_bytes

SYMBOL = "upscore_kernel"  # the function in each object file

_IMPORTS = re.compile(rb"^(?:from|import) (upscore\.[\w.]+)", re.MULTILINE)
_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


class MachineCode:
    """The function of an object file, ready to be called."""

    def __init__(self, code: bytes) -> None:
        _prepare()
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        # The engine owns the memory of the code.
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self._function = _FUNCTION(self._engine.get_function_address(SYMBOL))

    def __call__(self, first: int, last: int, words: int) -> None:
        """Run these tasks, without the GIL, with the arguments whose words are at this address."""
        if self._function(first, last, words):
            raise AssertionError("a kernel raised: NUMBA_BOUNDSCHECK=1 lets Numba say what")


def find(module: str, name: str, signature: str) -> MachineCode | None:
    """Load what an earlier process kept of a kernel, if it still fits."""
    key = _key(module, signature)
    for path in _paths(module, name, signature):
        try:
            head, code = path.read_bytes().split(b"\n", 1)
            facts = json.loads(head)
            calls = facts["calls"]
        except (OSError, ValueError, KeyError, TypeError):  # not there, or not one of ours
            continue
        if facts == _facts(key, code, calls) and _known(calls):
            return MachineCode(code)
    return None


def keep(module: str, name: str, signature: str, code: bytes, calls: list[str]) -> None:
    """Keep machine code for later processes in the first folder that can be written, if any can."""
    facts = _facts(_key(module, signature), code, calls)
    for path in _paths(module, name, signature):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, json.dumps(facts).encode() + b"\n" + code)
        except OSError:
            continue
        return


def _facts(key: str, code: bytes, calls: list[str]) -> dict[str, object]:
    return {"key": key, "sha256": sha256(code).hexdigest(), "calls": calls}


def _known(calls: list[str]) -> bool:
    """Whether this process has all functions that the code calls; LLVM would crash."""
    _prepare()
    return all(llvm.address_of_symbol(name) is not None for name in calls)


@cache
def _prepare() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def _paths(module: str, name: str, signature: str) -> Iterator[Path]:
    """Where the code of a kernel may lie: where Numba would keep it, or in the user's cache."""
    home = _source(module)
    file = f"{name}-{sha256(f'{home} {signature}'.encode()).hexdigest()[:16]}.o"
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        yield Path(chosen) / file
        return
    yield home.parent / "__pycache__" / file
    users = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not users.startswith("~"):  # else nobody knows the user's home
        yield Path(users) / "upscore" / file


def _key(module: str, signature: str) -> str:
    """What machine code depends on: types of arguments, sources, compilers and the processor."""
    parts = (
        signature,
        _stamp(module),
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    )
    return sha256("\n".join(parts).encode()).hexdigest()


@cache
def _stamp(module: str) -> str:
    """A hash of all that defines a kernel: its file, those that this imports, the compilers."""
    numba = find_spec("numba")
    if numba is None or numba.origin is None:
        raise MissingPackageError("compiled kernels need numba: pip install numba")
    found = sha256(llvmlite.__version__.encode())
    found.update(Path(numba.origin).with_name("_version.py").read_bytes())
    compiler = f"{__package__}.compile"
    modules, seen = [module, compiler], set[str]()
    while modules:
        name = modules.pop()
        if name not in seen:
            seen.add(name)
            code = _source(name).read_bytes()
            found.update(code)
            modules += [other.decode() for other in _IMPORTS.findall(code)]
    return found.hexdigest()


@cache
def _source(module: str) -> Path:
    """The file of a module, found without importing it."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)
