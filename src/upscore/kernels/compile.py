"""How Numba's kernels are compiled, and where their machine code is kept."""

# mypy: disable-error-code="no-untyped-call, untyped-decorator"

from collections.abc import Callable
from typing import Any

from numba import njit, types
from numba.extending import overload

from upscore.errors import UnsupportedError


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile without the GIL and keep the machine code on disk (`NUMBA_BOUNDSCHECK=1` checks).

    Numba compiles again when the file of a kernel changes, not when this one or vectors.py does:
    whoever edits those removes `__pycache__/*.nb?` beside the kernels.
    """
    return njit(nogil=True, cache=True, error_model="numpy", **options)  # type: ignore[no-any-return]


def by_precision(single: Callable[..., Any], double: Callable[..., Any]) -> Callable[..., Any]:
    """Return what kernels call as `single` on a float32 and as `double` on a float64."""

    def choose(x: Any) -> Any:
        raise UnsupportedError("for kernels only")

    @overload(choose, strict=False)
    def compiled(x: Any) -> Any:
        return (lambda x: single(x)) if x == types.float32 else (lambda x: double(x))

    return choose


def part(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile what a kernel calls and which allocates nothing: its arrays' users go uncounted."""
    return kernel(_nrt=False, **options)
