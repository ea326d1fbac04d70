"""What stands before all of a server's paths: who may call it, and what a browser may do."""

import hmac
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from starlette.datastructures import Headers, MutableHeaders

from upscore.errors import RequestError
from upscore.serving.measures import Measures
from upscore.serving.problems import response
from upscore.serving.settings import Settings

log = logging.getLogger("upscore.serving")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src blob:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
# Without a token: the pages, which hold nothing, and what a supervisor asks.
_OPEN = ("/healthz", "/readyz", "/page/", "/docs", "/openapi.json")
_LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}


class Guard:
    """An ASGI application around another."""

    def __init__(self, app: Any, settings: Settings, measures: Measures) -> None:
        self._app, self._settings, self._measures = app, settings, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through or answer it; add headers, count it and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = perf_counter(), 500
        headers = Headers(scope=scope)

        async def send_with_headers(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    answer.setdefault(name, value)
                if not scope["path"].startswith("/page/"):
                    answer.setdefault("cache-control", "no-store")
                if (origin := headers.get("origin")) in self._settings.origins and origin:
                    answer.setdefault("access-control-allow-origin", origin)  # of refusals here too
            await send(message)

        try:
            self._check(scope, headers)
            await self._app(scope, receive, send_with_headers)
        except RequestError as error:
            await response(error)(scope, receive, send_with_headers)
        finally:
            path = getattr(scope.get("route"), "path", "other")  # never the client's own text
            self._measures.requests.labels(path, str(status)).inc()
            took = 1000 * (perf_counter() - start)
            log.info("%s %s %d %.0f ms", scope["method"], path, status, took)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raise the RequestError of a request that must not go on."""
        host = headers.get("host", "")
        # A page elsewhere may let a name of its own mean this machine (DNS rebinding).
        if self._settings.local and _name_of(host) not in _LOCAL_NAMES | {self._settings.host}:
            raise RequestError(421, f"this server is localhost, not {host[:100]!r}")
        origin = headers.get("origin")
        own = origin is None or origin.partition("://")[2] == host
        if origin is not None and not own and origin not in self._settings.origins:
            raise RequestError(403, f"pages of {origin[:100]!r} may not call this server")
        if self._settings.token is None or scope["path"] == "/" or scope["method"] == "OPTIONS":
            return
        if scope["path"].startswith(_OPEN):
            return
        kind, _, token = headers.get("authorization", "").partition(" ")
        expected = self._settings.token.encode()
        given = token.strip().encode()
        if kind.lower() != "bearer" or not hmac.compare_digest(given, expected):
            wanted = {"WWW-Authenticate": "Bearer"}
            raise RequestError(401, "a token is needed: Authorization: Bearer TOKEN", wanted)


def _name_of(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
