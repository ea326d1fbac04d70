"""A photo's way through a server: admitted, decoded, queued, labelled, encoded."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from upscore import images
from upscore.errors import RequestError
from upscore.kernels.threads import thread_count
from upscore.models.spec import Spec
from upscore.serving.answers import Format, Found, encoded
from upscore.serving.batching import Batches
from upscore.serving.measures import Measures
from upscore.serving.models import Models
from upscore.serving.problems import of_photo
from upscore.serving.settings import Settings

Result = TypeVar("Result")

_PHOTOS_OF_PIXELS = 4  # photos in hand may have as many pixels as so many of the largest
_BATCH_PIXELS = 8_000_000  # of a batch of several photos
_BATCH = 8  # photos, on a GPU
_THREADS = 2  # one has the network's next photo ready while the other's is in it


class Service:
    """Models, the queue in front of them, and the threads around it."""

    def __init__(self, models: Models, settings: Settings) -> None:
        self.models, self.settings, self.measures = models, settings, Measures()
        self.closing = False
        self._photos = self._pixels = 0  # in hand
        self._files = ThreadPoolExecutor(thread_count(), thread_name_prefix="upscore-files")
        # Batches are no faster on a CPU.
        engine = models.segmenter(models.default).engine.name
        self._batch = settings.batch or (_BATCH if engine == "torch" else 1)
        self._batches: Batches[NDArray[Any], Found] = Batches(
            self._label, self._most, _THREADS, self._report
        )
        self.measures.in_hand.set_function(lambda: self._photos)
        self.measures.queued.set_function(lambda: len(self._batches))

    @property
    def photos_in_hand(self) -> int:
        """Photos that are admitted and not answered."""
        return self._photos

    async def segment(
        self, data: bytes, model: str, format: Format, confidence: bool
    ) -> tuple[str, bytes, dict[str, float]]:
        """Label a photo's file: the media type, the answer's bytes and the seconds of each stage.

        Raises a RequestError where that cannot be.
        """
        spec, times = self.models.spec(model), _Times(self.measures)
        pixels = await self._aside(self._pixels_of, data)
        # Pictures have three bytes a pixel, measurements four a band.
        with self._admitted(pixels * max(1, 4 * (spec.bands or 0) // 3)):
            with times("decode"):
                photo = await self._aside(self._decoded, data, spec)
            start = perf_counter()
            key = (model, photo.shape, confidence)
            found = await asyncio.wrap_future(self._batches.put(key, photo))
            times["label"] = perf_counter() - start
            with times("encode"):
                media, answer = await self._aside(encoded, found, format, photo)
        return media, answer, times

    async def keep(self, data: bytes, save: Callable[[], Result]) -> Result:
        """Do something else with a photo's file, which counts among those in hand."""
        with self._admitted(await self._aside(self._pixels_of, data)):
            return await self._aside(save)

    async def _aside(self, function: Callable[..., Result], *given: Any) -> Result:
        """Call a function in a thread for files, so that the server answers meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._files, function, *given)

    def close(self) -> None:
        """End the threads, when what is queued is done."""
        self.closing = True
        self._batches.close()
        self._files.shutdown()

    @contextmanager
    def _admitted(self, pixels: int) -> Iterator[None]:
        """Let a photo in while there is room for its pixels, or refuse it.

        What it causes inside the block becomes a RequestError.
        """
        if self.closing:
            raise RequestError(503, "the server shuts down: ask another", {"Retry-After": "5"})
        room = _PHOTOS_OF_PIXELS * self.settings.max_pixels - self._pixels
        if self._photos >= self.settings.queue or (self._photos and pixels > room):
            raise RequestError(
                429,
                f"the photos in hand ({self._photos}, of {self._pixels:,} pixels) are as many as "
                "this server takes: try again later",
                {"Retry-After": "1"},
            )
        self._photos += 1
        self._pixels += pixels
        try:
            yield
        except Exception as error:
            raise of_photo(error) from error
        finally:
            self._photos -= 1
            self._pixels -= pixels

    def _pixels_of(self, data: bytes) -> int:
        """How many pixels a photo has, by its header."""
        try:
            width, height = images.size(data, max_pixels=self.settings.max_pixels)
        except Exception as error:
            raise of_photo(error) from error
        return width * height

    def _decoded(self, data: bytes, spec: Spec) -> NDArray[Any]:
        """The pixels of a photo, as the model takes them."""
        if spec.bands is not None:
            return images.read_bands(data, spec.bands, max_pixels=self.settings.max_pixels)
        return images.read(data, max_pixels=self.settings.max_pixels)

    def _most(self, key: Any) -> int:
        """How many photos of one size may go together."""
        _, (height, width, _), _ = key
        return max(1, min(self._batch, _BATCH_PIXELS // int(height * width)))

    def _label(self, key: Any, photos: Sequence[NDArray[Any]]) -> Sequence[Found]:
        """The labels of photos of one size, in one call of the network."""
        name, _, confidence = key
        segmenter = self.models.segmenter(name)
        batch = np.stack(photos)
        if not confidence:
            return [Found(name, segmenter.spec, labels) for labels in segmenter.labels(batch)]
        both = zip(*segmenter.labels_and_confidence(batch), strict=True)
        return [Found(name, segmenter.spec, labels, sure) for labels, sure in both]

    def _report(self, waited: list[float], took: float) -> None:
        self.measures.batches.observe(len(waited))
        for seconds in waited:
            self.measures.seconds.labels("queue").observe(seconds)
            self.measures.seconds.labels("network").observe(took)


class _Times(dict[str, float]):
    """The seconds of a photo's stages."""

    def __init__(self, measures: Measures) -> None:
        super().__init__()
        self._measures = measures

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self[stage] = perf_counter() - start
            self._measures.seconds.labels(stage).observe(self[stage])
