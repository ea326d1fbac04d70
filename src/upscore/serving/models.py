"""The models of a server, by name, loaded when they are first used, within a limit of memory."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from upscore.errors import ArgumentError
from upscore.inference.engines import EngineName, Precision
from upscore.inference.load import LongSide, segmenter_of
from upscore.inference.segmenter import Segmenter
from upscore.inference.tta import Tta
from upscore.models.checkpoint import identity_of, read_checkpoint
from upscore.models.spec import Spec
from upscore.serving.answers import class_of

_SIDE = 64  # of the first photo of a model


@dataclass
class _Model:
    """Where a model lies; and, while it is loaded, what runs it and how much memory that took."""

    source: str
    spec: Spec
    identity: str
    segmenter: Segmenter | None = None
    memory: int = 0
    used: int = 0  # the number of the last use


@dataclass(frozen=True)
class Running:
    """How models run.

    Attributes:
        engine: as for `upscore.load`.
        device: as for `upscore.load`.
        precision: as for `upscore.load`.
        long_side: as for `upscore.Predictor`.
        tta: as for `upscore.Predictor`.
    """

    engine: EngineName = "auto"
    device: str | None = None
    precision: Precision = "float32"
    long_side: LongSide = "trained"
    tta: Tta = field(default=())

    def segmenter(self, source: str) -> Segmenter:
        """Load a model, and let it label something, so that the first photo need not wait.

        Args:
            source: as `model` for `upscore.load`.

        Returns:
            A `Segmenter`.

        Raises:
            CheckpointError: the model cannot be loaded.
        """
        segmenter = segmenter_of(
            source,
            engine=self.engine,
            device=self.device,
            precision=self.precision,
            long_side=self.long_side,
            tta=self.tta,
        )
        bands = segmenter.spec.bands
        kind = np.uint8 if bands is None else np.float32
        segmenter.labels(np.zeros((_SIDE, _SIDE, bands or 3), kind))
        return segmenter


class Models:
    """Models by name.

    Args:
        given: sources as `upscore.load` takes them, or NAME=SOURCE. The first is the default.
        running: how they run.
        limit: bytes that those loaded may hold together, as the process grew when each was loaded;
            what was used longest ago goes first. The one in use always has room.

    Raises:
        ArgumentError: a name twice, or none.
        CheckpointError: a model cannot be loaded.
    """

    def __init__(
        self, given: Sequence[str], running: Running | None = None, limit: int | None = None
    ) -> None:
        self._running, self._limit = running or Running(), limit
        self._lock = threading.Lock()
        self._uses = count(1)
        self._known: dict[str, _Model] = {}
        for name, source in _named(given).items():
            self._known[name] = _Model(source, read_checkpoint(source).spec, identity_of(source))
        self.default = next(iter(self._known))
        self.segmenter(self.default)  # what cannot run is said at the start

    @property
    def names(self) -> tuple[str, ...]:
        """The names, the default first."""
        return tuple(self._known)

    def spec(self, name: str) -> Spec:
        """What a model is."""
        return self._known[name].spec

    def source(self, name: str) -> str:
        """Where a model lies."""
        return self._known[name].source

    def segmenter(self, name: str) -> Segmenter:
        """A model that runs, loaded if it is not."""
        with self._lock:
            model = self._known[name]
            model.used = next(self._uses)
            if model.segmenter is None:
                self._make_room(model.memory)
                model.segmenter, model.memory = self._loaded(model.source)
                self._make_room(0, but=model)
            return model.segmenter

    def replace(self, name: str, source: str) -> None:
        """Let a name mean another model from now on; what is being labelled ends with the old."""
        segmenter, grown = self._loaded(source)
        with self._lock:
            memory = max(grown, self._known[name].memory)  # what the old one held may be used again
            new = _Model(source, segmenter.spec, identity_of(source), segmenter, memory)
            new.used = next(self._uses)
            self._known[name] = new
            self._make_room(0, but=new)

    def describe(self, name: str) -> dict[str, Any]:
        """A model as plain values."""
        model = self._known[name]
        return {
            "name": name,
            "classes": [class_of(model.spec, i) for i in range(len(model.spec.class_names))],
            "architecture": model.spec.architecture,
            "encoder": model.spec.encoder,
            "bands": model.spec.bands,
            "long_side": model.spec.long_side,
            "sha256": model.identity,
            "loaded": model.segmenter is not None,
        }

    def _loaded(self, source: str) -> tuple[Segmenter, int]:
        """A model, and by how many bytes the process grew."""
        before = psutil.Process().memory_info().rss
        segmenter = self._running.segmenter(source)
        return segmenter, max(0, psutil.Process().memory_info().rss - before)

    def _make_room(self, wanted: int, but: _Model | None = None) -> None:
        """Let go of models, the one used longest ago first, until those left are in the limit."""
        if self._limit is None:
            return
        loaded = [model for model in self._known.values() if model.segmenter is not None]
        held = wanted + sum(model.memory for model in loaded)
        for model in sorted(loaded, key=lambda model: model.used):
            if held > self._limit and model is not but:
                held -= model.memory
                model.segmenter = None


def _named(given: Sequence[str]) -> Mapping[str, str]:
    """Sources by name: of NAME=SOURCE the name, else the folder's own."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, source = text.partition("=")
        if not equals:
            name, source = Path(text).resolve().name if text != "bundled" else text, text
        if not name or not source or "/" in name:
            raise ArgumentError(f"--model is {text!r}: expected NAME=FOLDER, or a folder")
        if name in found:
            raise ArgumentError(f"two models are called {name!r}: name one, as NAME=FOLDER")
        found[name] = source
    return found
