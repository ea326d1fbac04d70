"""The formats: each builds a candidate in a folder, runs it in its own runtime, and writes it."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from upscore.errors import CheckpointError
from upscore.exporting.options import Options
from upscore.inference.segmenter import Segmenter
from upscore.io.atomic import write_bytes
from upscore.models.checkpoint import Checkpoint

Photos = NDArray[Any]


class Candidate(Protocol):
    """An export before it is compared with its model."""

    def run(self, photos: Photos) -> Any:
        """What comes out of it for photos N x H x W x B: scores, or labels."""

    def write(self, file: Path, metadata: dict[str, str]) -> None:
        """Write it where it belongs."""


def candidate_of(
    checkpoint: Checkpoint, options: Options, folder: Path, photos: Iterator[Photos]
) -> Candidate:
    """Build what the options ask for; `folder` is for temporary files, `photos` to calibrate."""
    if options.format == "checkpoint":
        return CheckpointCandidate(checkpoint, options, folder)
    if options.format == "pt2":
        from upscore.exporting.pt2 import ProgramCandidate

        return ProgramCandidate(checkpoint, options, folder)
    file = _onnx_file(checkpoint, options, folder, photos)
    return (OnnxCandidate if options.format == "onnx" else OpenVinoCandidate)(file, options)


def _onnx_file(
    checkpoint: Checkpoint, options: Options, folder: Path, photos: Iterator[Photos]
) -> Path:
    """The ONNX file that is an export, or becomes one."""
    import onnx

    from upscore.exporting.onnx import onnx_model
    from upscore.exporting.quantise import quantise

    if checkpoint.graph is None:
        raise CheckpointError(
            f"{checkpoint.folder} has no graph to export; "
            f"`upscore export FOLDER --format checkpoint -o FOLDER` adds it"
        )
    # onnx refuses weights of several hard links, which is how uv installs a package's files.
    shutil.copy(checkpoint.weights, folder)
    graph = Path(shutil.copy(checkpoint.graph, folder))
    file = folder / "model.onnx"
    onnx.save(onnx_model(graph, checkpoint.spec, options), str(file))
    if options.precision == "int8":
        quantise(file, folder / "quantised.onnx", photos)
        return folder / "quantised.onnx"
    return file


class OnnxCandidate:
    """One ONNX file, run by ONNX Runtime."""

    def __init__(self, file: Path, options: Options) -> None:
        from upscore.inference.engines.onnxruntime import OnnxRuntimeEngine

        self.file, self.engine = file, OnnxRuntimeEngine(file)

    def run(self, photos: Photos) -> Any:
        """Scores or labels."""
        return self.engine.scores(photos)

    def write(self, file: Path, metadata: dict[str, str]) -> None:
        """Write the file with its metadata."""
        import onnx

        from upscore.exporting.onnx import add_metadata

        model = onnx.load(str(self.file))
        add_metadata(model, metadata)
        write_bytes(file, model.SerializeToString(deterministic=True))


class OpenVinoCandidate:
    """OpenVINO's model.xml and model.bin, run by OpenVINO on the CPU in float32."""

    def __init__(self, file: Path, options: Options) -> None:
        from upscore.inference.engines.openvino import core

        self.half = options.precision == "float16"
        self.model = core().read_model(str(file))  # convert_model would report to its makers
        self.file = file.with_suffix(".xml")
        self._save()
        self.engine = self._engine()

    def run(self, photos: Photos) -> Any:
        """Scores or labels."""
        return self.engine.scores(photos)

    def write(self, file: Path, metadata: dict[str, str]) -> None:
        """Write both files: the weights, then the description that reads them."""
        for key, value in metadata.items():
            self.model.set_rt_info(value, ["upscore", key])
        del self.engine  # it has the files open
        self._save()
        write_bytes(file.with_suffix(".bin"), self.file.with_suffix(".bin").read_bytes())
        write_bytes(file, self.file.read_bytes())

    def _save(self) -> None:
        import openvino

        openvino.save_model(self.model, str(self.file), compress_to_fp16=self.half)

    def _engine(self) -> Any:
        from upscore.inference.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(self.file)


class CheckpointCandidate:
    """A checkpoint in today's format: weights, graph and model.json."""

    def __init__(self, checkpoint: Checkpoint, options: Options, folder: Path) -> None:
        import torch

        from upscore.inference.load import load
        from upscore.models.checkpoint import read_checkpoint
        from upscore.models.weights import network_of, stored_in_half

        self.spec = checkpoint.spec
        self.network = network_of(checkpoint.spec, checkpoint.weights)
        half = options.precision == "float16" or stored_in_half(checkpoint.weights)
        self.dtype = torch.float16 if half else None
        self._save(folder)
        graph = read_checkpoint(folder).graph
        self.segmenter: Segmenter = load(folder, "onnxruntime" if graph else "torch", "cpu")

    def run(self, photos: Photos) -> Any:
        """Scores."""
        return self.segmenter.scores(photos)

    def write(self, file: Path, metadata: dict[str, str]) -> None:
        """Write the checkpoint; its card takes the parity table."""
        parity = json.loads(metadata["parity"])
        self.spec = replace(self.spec, card={**self.spec.card, "parity": parity})
        self._save(file)

    def _save(self, folder: Path) -> None:
        from upscore.models.weights import save

        save(folder, self.network, self.spec, dtype=self.dtype)
