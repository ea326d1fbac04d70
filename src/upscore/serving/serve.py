"""Start a server, and end it when all is answered."""

import logging
import socket
import sys
import time
import webbrowser
from collections.abc import Sequence
from types import FrameType

import uvicorn

from upscore.errors import RunError
from upscore.serving.app import application
from upscore.serving.models import Models, Running
from upscore.serving.protocol import BoundedProtocol
from upscore.serving.service import Service
from upscore.serving.settings import Settings

_CONNECTIONS = 1000
_BACKLOG = 512


def serve(
    model: str | Sequence[str] = "bundled",
    settings: Settings | None = None,
    running: Running | None = None,
    *,
    open_page: bool = False,
) -> None:
    """Serve models on a page and an API until SIGTERM or Ctrl+C, then answer what is in hand.

    Args:
        model: as for `upscore.Predictor`, or NAME=FOLDER; several are served by their names, and
            the first is the default.
        settings: where to listen, and what to allow.
        running: the engine and sizes, as for `upscore.Predictor`.
        open_page: show the page in a browser.

    Raises:
        ArgumentError: settings that do not fit, such as an address that other machines reach
            without a token.
        CheckpointError: a model cannot be loaded.
        RunError: the address cannot be listened at.

    Examples:
        >>> import upscore
        >>> upscore.serve("runs/mine")  # doctest: +SKIP
        upscore serves mine at http://127.0.0.1:8000 ...
    """
    settings = settings or Settings()
    given = [model] if isinstance(model, str) else list(model)
    listener = _listener(settings)
    with listener:
        service = Service(Models(given, running, settings.memory), settings)
        config = uvicorn.Config(
            application(service),
            http=BoundedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
        )
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{port}"
        names = ", ".join(service.models.names)
        print(f"upscore serves {names} at {address} (the API: {address}/docs); Ctrl+C ends it")
        if settings.token is not None:
            print("clients need the token; the page asks for it")
        sys.stdout.flush()
        logging.getLogger("upscore.serving").info("listening at %s", address)
        if open_page:
            webbrowser.open(address)
        _Server(config, service).run(sockets=[listener])


def _listener(settings: Settings) -> socket.socket:
    """The socket: an address that is taken is said before a model is loaded."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets made with IPPROTO_TCP. Without it, small answers wait
    # some 40 ms (Nagle's algorithm).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise RunError(
            f"cannot listen at {settings.host}, port {settings.port}: {error}; "
            "another --port may be free, and --port 0 finds one"
        ) from error
    return listener


class _Server(uvicorn.Server):
    """uvicorn's server, which on a signal first answers what is in hand, and refuses what comes."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._last = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; after a second signal what is in hand is no longer waited for."""
        if self._service.closing:
            self._last = time.monotonic()
            super().handle_exit(sig, frame)
        else:
            self._last = time.monotonic() + self._service.settings.grace
        self._service.closing = True

    async def on_tick(self, counter: int) -> bool:
        """Whether to end."""
        left = self._last - time.monotonic()
        done = self._service.photos_in_hand == 0 or left < 0
        ending = await super().on_tick(counter) or (self._service.closing and done)
        if ending:
            self.config.timeout_graceful_shutdown = max(1, round(left))
        return ending
