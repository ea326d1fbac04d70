"""What comes of a video: the overlay, the labels and the areas, written frame by frame."""

import csv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from upscore.io.atomic import make_folder, replacing
from upscore.models.spec import Spec
from upscore.prediction.prediction import Prediction
from upscore.prediction.video.clip import Clip, Frame, av_module

Labels = Literal["video", "png"] | None
_SOUND = {"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"}  # what an mp4 holds as it is


class Track:
    """A video file that is being written: pictures of one stream, at the clip's time stamps."""

    def __init__(self, container: Any, clip: Clip, codec: str, options: dict[str, str]) -> None:
        self._container, self._clip, self._codec, self._options = container, clip, codec, options
        self._stream: Any = None
        self._sound: Any = None
        self._early: list[Any] = []  # sound before the first frame: the file has no header yet
        self.silent: str | None = None  # the codec of sound that is left out
        self.lost = 0  # packets of sound
        if clip.sound is not None and codec == "libx264":
            decoder = clip.sound.codec_context  # None of a codec that FFmpeg does not know
            kind = decoder.codec.canonical_name if decoder else "an unknown codec"
            if kind in _SOUND:  # "mp3" of the decoder "mp3float"
                self._sound = container.add_stream_from_template(clip.sound)
            else:
                self.silent = kind

    def write(self, picture: NDArray[np.uint8], frame: Frame) -> None:
        """Add a frame: H x W x 3, RGB, or H x W, grey values kept as they are."""
        av = av_module()
        if picture.ndim == 3:
            # Browsers play 4:2:0 alone, which needs even sides: the last row or column repeats.
            down, right = (side % 2 for side in picture.shape[:2])
            picture = np.pad(picture, ((0, down), (0, right), (0, 0)), mode="edge")
            shown = av.VideoFrame.from_ndarray(picture, format="rgb24")
            shown = shown.reformat(format="yuv420p", dst_colorspace="ITU709")
        else:
            shown = av.VideoFrame.from_ndarray(picture, format="gray")
        shown.pts, shown.time_base = frame.stamp, self._clip.time_base
        if self._stream is None:
            self._stream = self._started(shown)
            for packet in self._early:
                self.sound(packet)
            self._early.clear()
        self._container.mux(self._stream.encode(shown))

    def sound(self, packet: Any) -> None:
        """Add a packet of sound as it is, where the file can hold it."""
        if self._sound is not None and self._stream is None:
            self._early.append(packet)
        elif self._sound is not None:
            packet.stream = self._sound
            try:
                self._container.mux(packet)
            except av_module().ArgumentError:  # its time stamp goes back
                self.lost += 1

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())

    def _started(self, shown: Any) -> Any:
        clip = self._clip
        rate = clip.stream.average_rate or 25
        stream = self._container.add_stream(self._codec, rate, options=self._options)
        stream.width, stream.height = shown.width, shown.height
        stream.pix_fmt = shown.format.name
        stream.time_base = stream.codec_context.time_base = clip.time_base
        if stream.pix_fmt == "yuv420p":
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
            context.color_range = 1
        return stream


class Results:
    """The files of one clip, under temporary names until they are whole."""

    def __init__(
        self, stack: ExitStack, out: Path, name: str, clip: Clip, spec: Spec, labels: Labels
    ) -> None:
        self._out, self._name, self._spec, self._as = out, name, spec, labels
        self.files = {"overlay": f"overlays/{name}.mp4", "areas_file": f"areas/{name}.csv"}
        # Without B-frames the file's time stamps are those of the clip, with nothing shifted.
        self._overlay = self._track(
            stack, clip, "overlay", "libx264", {"bf": "0", "crf": "20", "preset": "fast"}
        )
        self._labels: Track | None = None
        if labels == "video":
            self.files["labels"] = f"labels/{name}.mkv"
            self._labels = self._track(stack, clip, "labels", "ffv1", {"level": "3"})
        elif labels == "png":
            self.files["labels"] = f"labels/{name}"
            for earlier in make_folder(out / "labels" / name).glob("[0-9]" * 6 + ".png"):
                earlier.unlink()  # of a run that labelled other frames
        table = stack.enter_context(replacing(self._path("areas_file")))
        file = stack.enter_context(table.open("w", encoding="utf-8", newline=""))
        self._table = csv.writer(file, lineterminator="\n")
        self._table.writerow(("seconds", "frame", *spec.class_names))

    @property
    def notes(self) -> dict[str, str]:
        """What the record says of the files besides their names."""
        if self._overlay.silent is not None:
            return {"sound": f"left out: {self._overlay.silent} is not copied into an mp4"}
        if self._overlay.lost:
            return {"sound": f"{self._overlay.lost} packets left out: their time stamps go back"}
        return {}

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Add a frame to every file."""
        areas = prediction.areas
        shares = (f"{areas.get(name, 0):.6f}" for name in self._spec.class_names)
        self._table.writerow((f"{frame.seconds:.6f}", frame.number, *shares))
        self._overlay.write(np.asarray(prediction.overlay(legend=False)), frame)
        if self._labels is not None:
            self._labels.write(prediction.labels, frame)
        elif self._as == "png":
            path = self._out / "labels" / self._name / f"{frame.number:06d}.png"
            with replacing(path) as temporary:
                prediction.label_image().save(temporary)

    def sound(self, packet: Any) -> None:
        """Add a packet of sound to the overlay."""
        self._overlay.sound(packet)

    def _path(self, what: str) -> Path:
        path = self._out / self.files[what]
        make_folder(path.parent)
        return path

    def _track(
        self, stack: ExitStack, clip: Clip, what: str, codec: str, options: dict[str, str]
    ) -> Track:
        temporary = stack.enter_context(replacing(self._path(what)))
        container = stack.enter_context(av_module().open(str(temporary.absolute()), "w"))
        track = Track(container, clip, codec, options)
        stack.callback(track.finish)
        return track


@contextmanager
def results(out: Path, name: str, clip: Clip, spec: Spec, labels: Labels) -> Iterator[Results]:
    """Open the files of one clip; they get their names when the block ends well."""
    with ExitStack() as stack:
        yield Results(stack, out, name, clip, spec, labels)
