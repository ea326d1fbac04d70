"""Put upscore's functions in the place of another library's, and take them out again."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from inspect import Parameter, signature
from threading import Lock
from types import FunctionType, TracebackType
from typing import Any

from upscore.errors import ArgumentError, MissingPackageError, UnsupportedError

LIBRARIES = (
    "detectron2",
    "monai",
    "nnunetv2",
    "segment_anything",
    "segmentation_models_pytorch",
    "torchvision",
    "transformers",
    "ultralytics",
)

_PATCHING = Lock()  # between looking what is there and putting something else


class Patch:
    """Functions of another library that are upscore's now; `patch` makes one.

    Use it in a `with` statement to have the library's own functions back at its end.

    Args:
        replacements: "module:function" -> the library's own function, and the one in its place.
    """

    def __init__(self, replacements: dict[str, tuple[Any, Any]]) -> None:
        self._functions: dict[str, tuple[Any, Any]] = {}
        try:
            for name, (own, new) in replacements.items():
                self._functions[name] = own, new
                _put(name, new)
        except BaseException:
            self.undo()
            raise

    @property
    def replaced(self) -> tuple[str, ...]:
        """The functions that are upscore's, "module:function" or "module:Class.function"."""
        return tuple(self._functions)

    def undo(self) -> None:
        """Put the library's own functions back, but where others have replaced them since."""
        functions, self._functions = self._functions, {}
        for name, (own, new) in functions.items():
            if _get(name) is new:
                _put(name, own)

    def __enter__(self) -> "Patch":
        if not self._functions:
            raise UnsupportedError("this patch has been undone: make a new one")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.undo()

    def __repr__(self) -> str:
        return f"<{len(self.replaced)} functions are upscore's: {', '.join(self.replaced)}>"


def patch(library: str, *, verify: bool = False, any_version: bool = False) -> Patch:
    """Let upscore serve the last steps of a library: same functions, arguments and results.

    Only the functions named in `Patch.replaced` change, under every name that the library itself
    has for them; a name that your program imported before is still the library's. What upscore
    cannot do, such as to return full-resolution scores, they still leave to the library. Scores of
    half precision are computed in float32, where the library computes in half precision, so that
    near ties the results are not the same.

    Args:
        library: "detectron2", "monai", "nnunetv2", "segment_anything",
            "segmentation_models_pytorch", "torchvision", "transformers" or "ultralytics"; the pages
            of each say which functions, and what they leave to the library.
        verify: run the library's own function too, and raise MismatchError, naming the worst pixel,
            if one differs by more than rounding; transformers' instances must be the same. As slow
            as the library.
        any_version: also of a version that this was not tested with, as far as it has the same
            functions with the same arguments.

    Returns:
        A `Patch`: `undo()` puts the library's own functions back, and so does the end of a `with`
        statement.

    Raises:
        ArgumentError: no such library.
        MissingPackageError: the library, or what it needs for these functions, is not installed.
        UnsupportedError: a version that this was not tested with, or without these functions, or
            one that is patched already.

    Examples:
        >>> import upscore.compat
        >>> with upscore.compat.patch("transformers") as patch:  # doctest: +SKIP
        ...     maps = processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)
    """
    if library not in LIBRARIES:
        raise ArgumentError(f"library must be one of {', '.join(LIBRARIES)}, not {library!r}")
    try:
        found = version(library)
    except PackageNotFoundError as error:
        raise MissingPackageError(f"{library} is not installed: pip install {library}") from error
    ours = import_module(f"upscore.compat.{library}")
    if not any_version and not f"{found.partition('+')[0]}.".startswith(f"{ours.TESTED}."):
        raise UnsupportedError(
            f"{library} {found} is not {ours.TESTED}, which this was tested with; any_version=True "
            "tries it, and verify=True compares every result"
        )
    with _PATCHING:
        replacements = {}
        made: dict[Any, Any] = {}
        for place, make in ours.REPLACEMENTS.items():
            name = f"{library}.{place}"
            try:
                own = _get(name)
                # One for all names of a function, as pickle asks for.
                new = made.setdefault((own, make), make(own, verify))
                replacements[name] = own, _same_arguments(name, own, new)
            except UnsupportedError:
                if not any_version:
                    raise
        if any(
            own.__globals__["__name__"].startswith("upscore.") for own, _ in replacements.values()
        ):
            raise UnsupportedError(f"{library} is patched already: undo() that patch first")
        return Patch(replacements)


def _same_arguments(name: str, own: Any, new: Any) -> Any:
    """Return the new function if it takes what the library's own takes, or other names too."""
    theirs, expected = signature(own), signature(new, follow_wrapped=False)
    names = [
        name
        for name, parameter in expected.parameters.items()
        if parameter.kind is not Parameter.VAR_KEYWORD or name in theirs.parameters
    ]
    if list(theirs.parameters) != names:
        raise UnsupportedError(f"{name} takes {theirs}, and {expected} was expected")
    return new


def _holder(name: str) -> tuple[Any, str]:
    """Return what has a function, "module:function" or "module:Class.function", and its name."""
    module, _, path = name.partition(":")
    *kinds, last = path.split(".")
    holder: Any = import_module(module)
    for kind in kinds:
        holder = vars(holder)[kind]
    return holder, last


def _get(name: str) -> FunctionType:
    try:
        holder, last = _holder(name)
        function: FunctionType = vars(holder)[last]
    except (ModuleNotFoundError, KeyError) as error:
        missing = getattr(error, "name", None) or name
        if not missing.startswith(name.partition(".")[0]):
            raise MissingPackageError(f"{name} needs {missing}: pip install {missing}") from error
        raise UnsupportedError(f"this version has no {name}") from error
    return function


def _put(name: str, function: Any) -> None:
    holder, last = _holder(name)
    setattr(holder, last, function)
