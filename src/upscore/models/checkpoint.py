"""Checkpoints as files: a description, the weights, and the network as a graph; needs no framework.

    folder/model.json                  format, hashes, architecture, classes, preprocessing, card
    folder/model-1a2b3c4d.safetensors  the weights
    folder/model-5e6f7a8b.onnx         the network; its weights are read from the file above

Both are named after their own SHA-256, which model.json holds, so replacing it is what replaces a
checkpoint: a kill at any moment leaves the old or the new.
"""

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from upscore.errors import ArgumentError, CheckpointError
from upscore.models.graph_check import check_external_data
from upscore.models.spec import Spec, spec_from

FORMAT = 2  # 1 had no graph, and said `classes` where this says `class_names`
BUNDLED = Path(__file__).parent / "bundled"
MAX_BYTES = 4 << 30  # no network of this family comes near; a wrong file is not read into memory
MAX_JSON = 64 << 20
MAX_GRAPH = 64 << 20


class Checkpoint(NamedTuple):
    """A checkpoint whose files are there and are those that its model.json describes.

    Attributes:
        folder: where they are.
        spec: what the model is.
        weights: the safetensors file.
        graph: the ONNX graph; None for a checkpoint of format 1.
    """

    folder: Path
    spec: Spec
    weights: Path
    graph: Path | None


def read_checkpoint(source: str | Path = "bundled") -> Checkpoint:
    """Find and verify a checkpoint.

    Args:
        source: "bundled", a checkpoint's folder, or the folder of a training run.

    Returns:
        A `Checkpoint`.

    Raises:
        CheckpointError: no checkpoint there, a newer format, a truncated or a foreign file, or a
            graph that reads anything but its own weights.
    """
    folder = _folder(source)
    path = folder / "model.json"
    values = read_description(path)
    digest, graph_digest = values.pop("sha256"), values.pop("graph_sha256", None)
    if values.pop("format") == 1 and "classes" in values:
        values["class_names"] = values.pop("classes")
    try:
        spec = spec_from(values)
    except ArgumentError as error:
        raise CheckpointError(f"{path} does not describe a model: {error}") from error
    weights = folder / tensors_name("model", digest)
    verified(weights, digest, path, MAX_BYTES)
    graph = None
    if graph_digest is not None:
        graph = folder / graph_name("model", graph_digest)
        content = verified(graph, graph_digest, path, MAX_GRAPH)
        try:
            check_external_data(content, weights)
        except ArgumentError as error:
            raise CheckpointError(f"{graph} is refused: {error}") from error
    return Checkpoint(folder, spec, weights, graph)


def identity_of(model: str | PathLike[str] | Sequence[str | PathLike[str]]) -> str:
    """What tells a model from all others: the SHA-256 of its model.json, of each of an ensemble.

    model.json names weights and graph by their hashes, so this is of all that a model is; none of
    them is read.

    Raises CheckpointError where there is no model.

    >>> len(identity_of("bundled")), len(identity_of(["bundled", "bundled"]))
    (64, 129)
    """
    if isinstance(model, str | PathLike):
        path = _folder(Path(model) if isinstance(model, PathLike) else model) / "model.json"
        read_description(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return " ".join(map(identity_of, model))


def read_description(path: Path) -> dict[str, Any]:
    """The values of a JSON file that was written with a checkpoint or a training state.

    Its `format` is one of ours, `sha256` and, if there, `graph_sha256` are hashes.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_JSON + 1)
        values = None if len(text) > MAX_JSON else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not a description written by upscore: {type(error).__name__}: {error}"
        ) from error
    values = values if isinstance(values, dict) else {}
    version = values.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise CheckpointError(
            f"{path} is not a description written by upscore: an object with the number of its "
            "format was expected"
        )
    if version > FORMAT:
        raise CheckpointError(
            f"{path} has format {str(version)[:20]}, this upscore reads up to {FORMAT}: "
            "update upscore"
        )
    digests = values.get("sha256"), values.get("graph_sha256", "0" * 64)
    if not all(isinstance(d, str) and re.fullmatch("[0-9a-f]{64}", d) for d in digests):
        raise CheckpointError(f"{path} does not name its files by their SHA-256, 64 hex digits")
    return values


def tensors_name(stem: str, digest: str) -> str:
    """The name of the file of tensors with a hash."""
    return f"{stem}-{digest[:8]}.safetensors"


def graph_name(stem: str, digest: str) -> str:
    """The name of the graph with a hash."""
    return f"{stem}-{digest[:8]}.onnx"


def outdated(folder: Path, stem: str, keep: Collection[str]) -> list[Path]:
    """The files that earlier versions of a checkpoint left: those named after a hash, no others."""
    pattern = re.compile(rf"{re.escape(stem)}-[0-9a-f]{{8}}\.(safetensors|onnx)")
    return [p for p in folder.iterdir() if pattern.fullmatch(p.name) and p.name not in keep]


def verified(path: Path, digest: str, description: Path, most: int) -> bytes:
    """The content of a file, once it is the one that the description's hash is of."""
    try:
        if path.stat().st_size > most:
            raise CheckpointError(f"{path} has over {most >> 20} MiB: not one of ours")
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}, which {description.name} beside it names, cannot be read: {error}"
        ) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(
            f"{path} is not the file that {description.name} beside it describes: truncated, "
            "changed or of another run; copy all files of the folder again"
        )
    return content


def _folder(source: str | Path) -> Path:
    """The folder with model.json: the bundled one, the given one, or the best of a run."""
    if source == "bundled":
        return BUNDLED
    path = Path(source)
    if path.name == "model.json":
        path = path.parent
    for folder in (path, path / "best"):
        if (folder / "model.json").is_file():
            return folder
    raise CheckpointError(
        f"no model at {path}: expected a folder with model.json, "
        'a run folder of `upscore train`, or "bundled"'
    )
