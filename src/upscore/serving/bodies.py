"""Bodies of requests, read as far as they may be long, and no longer than they may take."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from upscore.errors import RequestError
from upscore.serving.settings import Settings

_BODIES = 8  # all bodies in memory together: so many times max_bytes
_FIELD = 64 << 10  # bytes of a field that is no file

Fields = dict[str, bytes]


class Bodies:
    """What reads bodies, and keeps count of the bytes in hand."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._held = settings, 0

    @asynccontextmanager
    async def reading(self, request: Request, *names: str) -> AsyncIterator[Fields]:
        """Yield the fields of these names of a multipart body; any other body is the first field.

        Raises RequestError: 413 where it is too long (by its header before any of it is read), 408
        where it takes too long, 415 and 422 where there are not these fields, 429 where all bodies
        in hand are too long together.
        """
        held = [0]  # bytes of this body
        try:
            try:
                async with asyncio.timeout(self._settings.deadline):
                    fields = await self._fields(request, names, held)
            except ClientDisconnect:
                raise RequestError(400, "the client left before its body was there") from None
            except TimeoutError:
                seconds = self._settings.deadline
                raise RequestError(
                    408, f"the body was not there after {seconds:g} seconds"
                ) from None
            for name in names:
                if not fields.get(name):
                    raise RequestError(
                        422, f"no {name}: expected it as a field of multipart/form-data"
                    )
            yield fields
        finally:
            self._held -= held[0]

    async def _fields(self, request: Request, names: tuple[str, ...], held: list[int]) -> Fields:
        parts = self._parts(request, held)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "multipart/form-data":
            if len(names) > 1:
                raise RequestError(415, f"expected multipart/form-data with {' and '.join(names)}")
            return {names[0]: b"".join([part async for part in parts])}
        parser = MultiPartParser(
            request.headers, parts, max_files=2, max_fields=8, max_part_size=_FIELD
        )
        parser.spool_max_size = self._settings.max_bytes  # in memory, never on the disk
        try:
            form = await parser.parse()
        except (MultiPartException, MultipartParseError, KeyError) as error:
            raise RequestError(422, f"the multipart body cannot be read: {error}") from None
        return {
            name: await value.read() if isinstance(value, UploadFile) else value.encode()
            for name, value in form.multi_items()
        }

    async def _parts(self, request: Request, held: list[int]) -> AsyncGenerator[bytes, None]:
        """The body as it comes, while it is not too long."""
        most = self._settings.max_bytes
        too_long = RequestError(413, f"the body is longer than the limit of {most:,} bytes")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise too_long
        async for part in request.stream():
            held[0] += len(part)
            self._held += len(part)
            if held[0] > most:
                raise too_long
            if self._held > _BODIES * most:
                raise RequestError(
                    429, "too much is being sent at once: try again", {"Retry-After": "2"}
                )
            yield part
