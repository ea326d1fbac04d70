"""The errors that upscore raises: each an `UpscoreError` and also the built-in error it refines.

`except upscore.UpscoreError` catches all of them; `except ValueError` and the like work as ever.
"""


class UpscoreError(Exception):
    """Something that the caller can fix; the message says what is wrong and what was expected."""


class ArgumentError(UpscoreError, ValueError):
    """An argument whose value does not fit."""


class ArgumentTypeError(UpscoreError, TypeError):
    """An argument of the wrong type, or arrays that do not go together."""


class MissingPackageError(UpscoreError, ModuleNotFoundError):
    """A package that this needs is not installed; the message says how to install it."""


class UnsupportedError(UpscoreError, NotImplementedError):
    """Something that cannot be done in this way; the message names another."""


class ImageError(UpscoreError, ValueError):
    """A file that is no usable image; the message names the file and what is wrong with it."""


class FormatError(ImageError):
    """A file in no format that is known."""


class SizeError(ImageError):
    """An image of more pixels than are allowed."""


class DataError(UpscoreError, ValueError):
    """A data set, or one file of it, that cannot be used as it is."""


class CheckpointError(UpscoreError, ValueError):
    """A checkpoint that cannot be used: names the file, what is wrong, and what to do."""


class RunError(UpscoreError, ValueError):
    """A run that cannot start or go on: names the folder, what is wrong and what to do."""


class RequestError(UpscoreError, ValueError):
    """A request that a server refuses: the HTTP status, and what was found and expected.

    Args:
        status: the HTTP status, such as 413.
        message: what was found and what was expected.
        headers: more headers of the answer, such as `Retry-After`.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}


class ParityError(UpscoreError, ValueError):
    """An export that does not label photos as its model does; the message names what differs.

    Args:
        message: what differs.
        parity: the whole comparison, an `upscore.exporting.parity.Parity`.
    """

    def __init__(self, message: str, parity: object = None) -> None:
        super().__init__(message)
        self.parity = parity


class MismatchError(UpscoreError, ValueError):
    """Two ways to the same result that differ by more than rounding; the message says where."""


class OutputError(UpscoreError, OSError):
    """A result that cannot be written: names the file and the system's reason."""


def extra_of(name: str) -> str:
    """Return the extra that installs what a public name or a command needs.

    Args:
        name: of `upscore.NAME`, or of the command `upscore NAME`.

    Returns:
        The extra's name, such as "train".
    """
    own = {"evaluate": "evaluate", "export": "export", "serve": "serve"}
    return own.get(name, "train" if name in ("plan", "train") else "predict")


def message_of(error: Exception, file: object) -> str:
    """Return the message of an error that a file caused, with the file's name in it.

    Args:
        error: what was raised.
        file: the file that caused it.

    Returns:
        The error's own message where it names the file, else the name and the message.

    Examples:
        >>> message_of(MemoryError(), "a.tif")
        'a.tif: MemoryError'
        >>> message_of(ImageError("a.tif: the file is empty"), "a.tif")
        'a.tif: the file is empty'
    """
    reason = str(error) or type(error).__name__
    return reason if str(file) in reason else f"{file}: {reason}"
