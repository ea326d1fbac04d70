"""A server's API from Python."""

import json
import time
from http.client import HTTPException
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np

from upscore import images
from upscore.errors import ArgumentError, ImageError, RunError
from upscore.prediction.prediction import Prediction

_OF_PHOTOS = (413, 415, 422)
_LATER = (429, 503)
_MOST_WAIT = 10.0  # seconds, between two tries


class Client:
    """What `upscore.Predictor` is, by a server of `upscore serve`.

    Args:
        url: the server's address.
        token: what it asks for, if it does.
        timeout: seconds to wait for an answer, and in all while the server says that it is busy.

    Examples:
        >>> import upscore
        >>> client = upscore.Client("http://127.0.0.1:8000")
        >>> prediction = client("photo.jpg")  # doctest: +SKIP
        >>> prediction.areas  # doctest: +SKIP
        {'background': 0.61, 'cat': 0.39}
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ArgumentError(f"url must begin with http:// or https://, not {url!r}")
        self.url, self.timeout = url.rstrip("/"), timeout
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def __call__(
        self, photo: str | PathLike[str] | bytes, *, model: str | None = None
    ) -> Prediction:
        """Label a photo. Of measurements the photo is not shown.

        Args:
            photo: a path, or a file's bytes.
            model: the name of one of the server's models; the first if not given.

        Returns:
            A `Prediction`, as of `upscore.Predictor`.

        Raises:
            ImageError: the file is no photo, or none that the server or the model takes.
            RunError: the server cannot be reached, does not answer in time, or has no such model.
        """
        data = photo if isinstance(photo, bytes) else _read(Path(photo))
        about = self.model(model)
        chosen = {"format": "png", "model": about["name"]}
        answer = self._ask(f"/v1/segment?{urlencode(chosen)}", data)
        with images.opened(answer) as picture:
            labels = np.array(picture)
        shown = images.read(data) if about["bands"] is None else _grey(labels)
        names = tuple(one["name"] for one in about["classes"])
        palette = tuple(_colour(one["color"]) for one in about["classes"])
        return Prediction(shown, labels, names, palette)

    def model(self, name: str | None = None) -> dict[str, Any]:
        """Return what the server says of a model: its classes, bands and sizes.

        Args:
            name: the name of one of the server's models; the first if not given.

        Returns:
            The values of `GET /v1/model`.

        Raises:
            RunError: the server cannot be reached, does not answer in time, or has no such model.
        """
        query = "" if name is None else f"?{urlencode({'model': name})}"
        about: dict[str, Any] = json.loads(self._ask(f"/v1/model{query}"))
        return about

    def _ask(self, path: str, data: bytes | None = None) -> bytes:
        """An answer's bytes; a server that is busy is asked again when it says."""
        kind = {} if data is None else {"Content-Type": "application/octet-stream"}
        request = Request(self.url + path, data, {**self._headers, **kind})
        last = time.monotonic() + self.timeout
        while True:
            try:
                with urlopen(request, timeout=max(0.1, last - time.monotonic())) as answer:
                    found: bytes = answer.read()
                return found
            except HTTPError as error:
                with error:
                    said = _detail(error)
                after = error.headers.get("Retry-After", "")  # a proxy may give a date
                wait = min(float(after), _MOST_WAIT) if after.isdecimal() else 0.0
                if error.code in _OF_PHOTOS:
                    raise ImageError(said) from None
                if error.code not in _LATER or not wait or time.monotonic() + wait > last:
                    raise RunError(f"{self.url} answers {error.code}: {said}") from None
                time.sleep(wait)
            except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
                reason = getattr(error, "reason", error)
                raise RunError(f"{self.url} cannot be reached: {reason}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from error


def _detail(error: HTTPError) -> str:
    """What a problem document says."""
    try:
        return str(json.loads(error.read())["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)


def _colour(text: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


def _grey(labels: Any) -> Any:
    return np.full((*labels.shape, 3), 128, np.uint8)
