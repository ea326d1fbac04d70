"""What a server may do, and how much of it at once."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from upscore.errors import ArgumentError

MIB = 1 << 20


@dataclass(frozen=True)
class Settings:
    """The limits of a server.

    Attributes:
        host: the address where it listens.
        port: the port where it listens; 0 takes a free one.
        token: what clients must send (`Authorization: Bearer TOKEN`). None asks for none, which
            only a server on this machine's own address may do.
        origins: web sites whose pages may call the API from a browser, such as "https://a.org".
        corrections: the folder that corrected masks are saved into. None: ./corrections where only
            this machine can reach the server, else none are saved.
        max_bytes: of a request's body.
        max_pixels: the most of one photo; all photos in hand may have four times as many.
        queue: photos in hand, from the first byte decoded to the last one encoded. More are refused
            with 429.
        batch: photos of one size that the network may be given at once. None: 8 with the torch
            engine, which a GPU uses; else 1, because batches are no faster on a CPU.
        deadline: seconds for a request's body to come, and as many again for its answer.
        memory: bytes that all loaded models together may hold; what was used longest ago goes
            first. None: no limit.
        grace: seconds that requests in hand have to end after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    origins: tuple[str, ...] = ()
    corrections: Path | None = None
    max_bytes: int = 64 * MIB
    max_pixels: int = 50_000_000
    queue: int = 64
    batch: int | None = None
    deadline: float = 60.0
    memory: int | None = None
    grace: float = 30.0

    def __post_init__(self) -> None:
        if not self.local and not self.token:
            raise ArgumentError(
                f"{self.host} can be reached from other machines, so the server needs a token: set "
                "UPSCORE_TOKEN to a long random text, such as that of "
                '`python -c "import secrets; print(secrets.token_urlsafe())"`'
            )
        if self.token is not None and (len(self.token) < 16 or not self.token.isascii()):
            raise ArgumentError("the token must be ASCII and have 16 characters or more")
        for origin in self.origins:
            if not re.fullmatch(r"https?://[^/]+", origin):
                raise ArgumentError(f"origin is {origin!r}: expected one as https://example.org")
        for name in ("max_bytes", "max_pixels", "queue", "batch", "deadline", "grace"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ArgumentError(f"{name} must be above 0, not {value}")

    @property
    def folder(self) -> Path | None:
        """The folder for corrections."""
        if self.corrections is None and self.local:
            return Path("corrections")
        return self.corrections

    @property
    def local(self) -> bool:
        """Whether the server can be reached from this machine alone."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
