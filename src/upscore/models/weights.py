"""Save a network as a checkpoint, and build it again: the part of checkpoints that needs torch."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from upscore.errors import ArgumentError, CheckpointError
from upscore.io.atomic import make_folder, write_bytes, write_json
from upscore.models.architectures import build_for
from upscore.models.checkpoint import (
    FORMAT,
    MAX_BYTES,
    graph_name,
    outdated,
    read_checkpoint,
    read_description,
    tensors_name,
    verified,
)
from upscore.models.fcn import FCN
from upscore.models.graph import graph_of
from upscore.models.spec import Spec


def save(folder: str | Path, model: FCN, spec: Spec, *, dtype: torch.dtype | None = None) -> None:
    """Write a checkpoint, replacing one in the folder.

    Args:
        folder: where to write; made if it is not there.
        model: the network.
        spec: what the network is and how to use it.
        dtype: `torch.float16` halves the size; None keeps the weights as they are.

    Raises:
        ArgumentError: `dtype` is neither None, float32 nor float16.
        OutputError: the folder cannot be written.
    """
    if dtype not in (None, torch.float32, torch.float16):
        raise ArgumentError(f"weights are kept in float32 or float16, not {dtype}")
    tensors = {
        name: value.to(dtype) if dtype and value.is_floating_point() else value
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    content, digest = _safetensors(tensors)
    weights = tensors_name("model", digest)
    graph = graph_of(spec, content, weights)
    files, description = {weights: content}, {"format": FORMAT, "sha256": digest}
    if graph is not None:
        graph_digest = hashlib.sha256(graph).hexdigest()
        files[graph_name("model", graph_digest)] = graph
        description["graph_sha256"] = graph_digest
    _replace(Path(folder), "model", files, description | asdict(spec))


def load(source: str | Path = "bundled", device: str | torch.device = "cpu") -> tuple[FCN, Spec]:
    """Return a checkpoint's network in evaluation mode and its `Spec`.

    For predictions use `upscore.load`, which needs no torch.

    Args:
        source: "bundled", a checkpoint's folder or a run's.
        device: where to put the network.

    Returns:
        The network and its `Spec`.

    Raises:
        CheckpointError: as `upscore.models.read_checkpoint`.
    """
    checkpoint = read_checkpoint(source)
    return network_of(checkpoint.spec, checkpoint.weights).to(device), checkpoint.spec


def network_of(spec: Spec, weights: Path) -> FCN:
    """The network of a spec with the weights of a verified file, in evaluation mode."""
    state = _tensors(weights.read_bytes(), weights)
    try:
        model = build_for(spec)
        missing, extra = model.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, strict=False
        )
    except (ValueError, RuntimeError) as error:  # unknown names; shapes that differ
        raise CheckpointError(
            f"{weights} does not hold what its model.json says: {error}"
        ) from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or extra:
        raise CheckpointError(
            f"{weights} does not hold a {spec.architecture} on {spec.encoder}: "
            f"missing {missing[:3]}, unexpected {extra[:3]}"
        )
    return model.eval()


def stored_in_half(weights: Path) -> bool:
    """Return whether a verified file keeps its weights in half precision."""
    tensors = _tensors(weights.read_bytes(), weights).values()
    return any(tensor.dtype == torch.float16 for tensor in tensors)


def write_tensors(
    folder: str | Path, stem: str, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
) -> None:
    """Write stem-<hash>.safetensors, then stem.json that names it, then drop the one before."""
    content, digest = _safetensors(tensors)
    values = {"format": FORMAT, "sha256": digest, **description}
    _replace(Path(folder), stem, {tensors_name(stem, digest): content}, values)


def read_tensors(folder: Path, stem: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `write_tensors` wrote: the description without format and hash, and the tensors.

    Raises:
        CheckpointError: JSON of another kind, a newer format, weights missing, cut or changed.
    """
    path = folder / f"{stem}.json"
    description = read_description(path)
    digest = description.pop("sha256")
    del description["format"]
    weights = folder / tensors_name(stem, digest)
    return description, _tensors(verified(weights, digest, path, MAX_BYTES), weights)


def _safetensors(tensors: Mapping[str, Tensor]) -> tuple[bytes, str]:
    """The content of a safetensors file, and its hash."""
    content = save_tensors({name: value.detach().contiguous() for name, value in tensors.items()})
    return content, hashlib.sha256(content).hexdigest()


def _tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_tensors(content))
    except SafetensorError as error:
        raise CheckpointError(f"{path} is no safetensors file: {error}") from error


def _replace(
    folder: Path, stem: str, files: Mapping[str, bytes], description: Mapping[str, Any]
) -> None:
    """Write the files, then the JSON that names them, then drop those of earlier versions."""
    make_folder(folder)
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_json(folder / f"{stem}.json", description)
    for old in outdated(folder, stem, files.keys()):
        old.unlink()
