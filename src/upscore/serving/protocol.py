"""HTTP/1.1 for clients that are slow on purpose: bounds that uvicorn does not have."""

from asyncio import TimerHandle
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEADER_SECONDS = 10.0  # from a connection's or a request's beginning to the end of its headers
_HEADER_BYTES = 64 << 10  # of headers, and of what follows a chunked body
_LINGER_SECONDS = 10.0  # a client may keep sending a body after its answer was sent
_UNREAD_SECONDS = 30.0  # a client may read nothing of its answer


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself waits without end for headers, trailers and readers."""

    _length = 0  # of what has come since the last byte of a body

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._clocks: dict[str, TimerHandle] = {}

    def connection_made(self, transport: Any) -> None:
        """Start the clock for headers."""
        super().connection_made(transport)
        self._start("headers", _HEADER_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        for name in list(self._clocks):
            self._stop(name)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Give up on headers and trailers that are too long: all is counted that is no body."""
        self._length += len(data)
        super().data_received(data)
        if self._length > _HEADER_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Start the clock for the headers of another request."""
        super().on_message_begin()
        self._start("headers", _HEADER_SECONDS, self.transport.close)

    def on_headers_complete(self) -> None:
        """Stop it: bodies have a deadline of their own."""
        self._stop("headers")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Leave counting to who reads the body."""
        self._length = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the clock of a client that was still sending: another request may follow."""
        self._length = 0
        self._stop("body")
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Let a client that is still sending read its answer and go, and any client read it."""
        if not self.pipeline and self.cycle.more_body:
            self._start("body", _LINGER_SECONDS, self.transport.close)
        self._see_reading(self.transport.get_write_buffer_size() + 1)
        super().on_response_complete()

    def _see_reading(self, before: int) -> None:
        """Drop a client that has read nothing of its answer since the last look."""
        left = self.transport.get_write_buffer_size()
        if left >= before:
            self.transport.abort()
        elif left:
            self._start("answer", _UNREAD_SECONDS, lambda: self._see_reading(left))

    def _start(self, name: str, seconds: float, late: Callable[[], object]) -> None:
        self._stop(name)
        self._clocks[name] = self.loop.call_later(seconds, late)

    def _stop(self, name: str) -> None:
        if name in self._clocks:
            self._clocks.pop(name).cancel()
