"""Frames of a video file, one after the other."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore import images
from upscore.errors import ImageError, MissingPackageError

# Demuxers of files that hold their data themselves: no playlists, no addresses, no scripts.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"


@dataclass(frozen=True)
class Frame:
    """A decoded frame: its place in the file, its time stamp, and how to make pixels of it."""

    number: int
    stamp: int
    seconds: float
    decoded: Any

    def pixels(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Upright RGB, H x W x 3, of the width and height given, those of the clip's stream."""
        width, height = size
        rgb = self.decoded.to_ndarray(format="rgb24", width=width, height=height)
        return np.ascontiguousarray(np.rot90(rgb, round(self.decoded.rotation / 90)))


@dataclass(frozen=True)
class Broken:
    """What could not be decoded, where, and why."""

    seconds: float | None
    reason: str


def av_module() -> Any:
    """PyAV, or an error that says how to get it."""
    try:
        import av
    except ModuleNotFoundError:
        raise MissingPackageError("videos need PyAV: pip install 'upscore[video]'") from None
    return av


class Clip:
    """An open video: what its header says, and its frames and packets of sound in order."""

    def __init__(self, path: Path, container: Any) -> None:
        self.path, self._container = path, container
        self.stream = container.streams.video[0]
        self.sound = next(iter(container.streams.audio), None)
        self.size = (self.stream.width, self.stream.height)
        self.time_base: Fraction = self.stream.time_base

    @property
    def seconds(self) -> float | None:
        """How long the pictures last, or what the file says of itself as a whole."""
        if self.stream.duration:
            return float(self.stream.duration * self.time_base)
        return self._container.duration / 1e6 if self._container.duration else None

    def parts(self) -> Iterator[Any]:
        """Every `Frame`, every `Broken` one and every packet of sound, in the file's order."""
        av = av_module()
        streams = [stream for stream in (self.stream, self.sound) if stream is not None]
        packets = self._container.demux(streams)
        number, stamp, end, last = 0, -1, 0, 0.0
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                yield Broken(float(end * self.time_base), f"the file breaks off: {error.strerror}")
                break
            if packet is None:
                break
            if packet.pts is not None:
                after = packet.pts + (packet.duration or 0)
                last = max(last, float(after * packet.time_base))
                end = max(end, after) if packet.stream is self.stream else end
            if packet.stream is not self.stream:
                if packet.dts is not None:
                    yield packet
                continue
            try:
                decoded = packet.decode()
            except av.FFmpegError as error:
                yield Broken(self._at(packet.pts), error.strerror)
                number += 1
                continue
            for frame in decoded:
                # A stamp that is missing or does not grow, which no player shows, becomes the next.
                stamp = max(stamp + 1, stamp + 1 if frame.pts is None else frame.pts)
                if frame.is_corrupt:
                    yield Broken(self._at(stamp), "damaged")
                else:
                    yield Frame(number, stamp, float(stamp * self.time_base), frame)
                number += 1
        whole = self._end(len(streams))
        reached = float(end * self.time_base) if self.stream.duration else last
        if whole is not None and whole - reached > 0.5:
            yield Broken(reached, f"the file ends here, and says that it goes on to {whole:.2f} s")

    def _end(self, streams: int) -> float | None:
        """Where the header says that the pictures end; Matroska says it of all streams at once."""
        if self.stream.duration:
            return float(((self.stream.start_time or 0) + self.stream.duration) * self.time_base)
        if self._container.duration and len(self._container.streams) == streams:
            return float((self._container.start_time or 0) + self._container.duration) / 1e6
        return None

    def _at(self, stamp: int | None) -> float | None:
        return None if stamp is None else float(stamp * self.time_base)


@contextmanager
def opened(path: Path) -> Iterator[Clip]:
    """Open a video, without trusting it: a local file, of a known format, of bounded frames.

    Raises:
        ImageError: it is no video that can be read, or its frames are too large; or FFmpeg fails
            inside the block.
    """
    av = av_module()
    limit = {"max_pixels": str(images.MAX_PIXELS)}
    with ExitStack() as stack:
        try:
            # An object instead of a name: FFmpeg has no address to follow, nor others to open.
            file = stack.enter_context(path.open("rb"))
            container = stack.enter_context(
                av.open(
                    file,
                    options=limit,
                    container_options={"format_whitelist": _FORMATS, "protocol_whitelist": "none"},
                    io_open=_refuse,
                )
            )
        except (OSError, av.FFmpegError) as error:
            reason = error.strerror or type(error).__name__
            raise ImageError(f"{path}: this video cannot be opened: {reason}") from None
        if not container.streams.video:
            raise ImageError(f"{path}: there are no pictures in this file")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise ImageError(f"{path}: there is no decoder for the pictures in this file")
        if not 0 < stream.width * stream.height <= images.MAX_PIXELS:
            raise ImageError(
                f"{path}: frames of {stream.width} x {stream.height} pixels; expected 1 to "
                f"{images.MAX_PIXELS:,} pixels"
            )
        # Slices that cannot be decoded are reported instead of being painted over.
        stream.codec_context.options = limit | {"err_detect": "crccheck+explode"}
        try:
            yield Clip(path, container)
        except av.FFmpegError as error:
            raise ImageError(f"{path}: FFmpeg cannot go on: {error.strerror}") from error


def _refuse(*_: Any) -> Any:
    raise ImageError("a video may not open other files")
