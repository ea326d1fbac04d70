"""Errors as answers: RFC 9457 problem documents that say what to do."""

from http import HTTPStatus

from fastapi.responses import JSONResponse
from pydantic import BaseModel

from upscore.errors import (
    FormatError,
    ImageError,
    MissingPackageError,
    OutputError,
    RequestError,
    SizeError,
)

MEDIA_TYPE = "application/problem+json"


class ProblemDocument(BaseModel):
    """An error: `detail` says what was found, what was expected and what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def response(error: RequestError) -> JSONResponse:
    """The answer to a request that is refused."""
    title = HTTPStatus(error.status).phrase
    document = ProblemDocument(title=title, status=error.status, detail=str(error))
    return JSONResponse(document.model_dump(), error.status, error.headers, MEDIA_TYPE)


def of_photo(error: Exception) -> RequestError:
    """The refusal of a photo that cannot be labelled or kept; other errors are raised again."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, MemoryError):
        return RequestError(503, f"no memory for this photo now: {error}", {"Retry-After": "5"})
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return RequestError(status, str(error))
    raise error


# The first that fits.
_STATUS: dict[type[Exception], int] = {
    SizeError: 413,
    FormatError: 415,
    ImageError: 422,
    MissingPackageError: 415,
    OutputError: 507,
}
