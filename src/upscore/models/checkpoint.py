"""Checkpoints: weights as safetensors, everything else as JSON, in one folder.

    folder/model.json                  format, architecture, classes, palette, preprocessing, card
    folder/model-1a2b3c4d.safetensors  named after its SHA-256, which model.json holds

Replacing model.json is what replaces a checkpoint: a kill at any moment leaves the old or the new.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from upscore.errors import CheckpointError
from upscore.io.atomic import write_bytes, write_json
from upscore.models.fcn import FCN, Width, build

FORMAT = 1
BUNDLED = Path(__file__).parent / "bundled"
MAX_BYTES = 4 << 30  # no network of this family comes near; a wrong file is not read into memory


@dataclass(frozen=True)
class Spec:
    """What rebuilds a network and says how to use it.

    `mean` and `std` are of RGB in 0..1; `palette` has one RGB colour a class; `card` is free:
    the data, the recipe, the scores and the limits, and the class mapping it was trained with.
    Photos are brought to `long_side` pixels for the network, which knows things at the size at
    which it was trained; None: never.
    """

    architecture: str
    encoder: str
    width: Width
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    card: Mapping[str, Any] = field(default_factory=dict)
    long_side: int | None = None


def normalise(images: Tensor, spec: Spec) -> Tensor:
    """`(images / 255 - mean) / std`: N x 3 x H x W uint8 RGB to float32, on the same device."""
    mean = torch.tensor(spec.mean, device=images.device).view(-1, 1, 1) * 255
    std = torch.tensor(spec.std, device=images.device).view(-1, 1, 1) * 255
    return (images.float() - mean) / std


def save(
    folder: str | Path, model: nn.Module, spec: Spec, *, dtype: torch.dtype | None = None
) -> None:
    """Write a checkpoint, replacing one in `folder`; `dtype=torch.float16` halves its size."""
    tensors = {
        name: value.to(dtype) if dtype and value.is_floating_point() else value
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    write_tensors(folder, "model", tensors, asdict(spec))


def load(source: str | Path = "bundled", device: str | torch.device = "cpu") -> tuple[FCN, Spec]:
    """A network in evaluation mode and its `Spec`, from "bundled", a checkpoint or a run's folder.

    Raises:
        CheckpointError: no checkpoint there, a newer format, a truncated or a foreign file.
    """
    folder = _folder(source)
    description, state = read_tensors(folder, "model")
    spec = _spec(folder / "model.json", description)
    try:
        model = build(spec.architecture, len(spec.classes), encoder=spec.encoder, width=spec.width)
        missing, extra = model.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, strict=False
        )
    except (ValueError, RuntimeError) as error:  # unknown names; shapes that differ
        raise CheckpointError(
            f"{folder} does not hold what its model.json says: {error}"
        ) from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or extra:
        raise CheckpointError(
            f"{folder} does not hold a {spec.architecture} on {spec.encoder}: "
            f"missing {missing[:3]}, unexpected {extra[:3]}"
        )
    return model.to(device).eval(), spec


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


def _spec(path: Path, description: dict[str, Any]) -> Spec:
    """The spec that a model.json holds."""
    try:
        return Spec(
            **description
            | {
                "classes": tuple(map(str, description["classes"])),
                "palette": tuple((int(r), int(g), int(b)) for r, g, b in description["palette"]),
                "mean": tuple(map(float, description["mean"])),
                "std": tuple(map(float, description["std"])),
            }
        )
    except (ValueError, KeyError, TypeError) as error:
        expected = ", ".join(f.name for f in fields(Spec))
        raise CheckpointError(
            f"{path} does not describe a model (expected {expected}): "
            f"{type(error).__name__}: {error}"
        ) from error


def write_tensors(
    folder: str | Path, stem: str, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
) -> None:
    """Write stem-<hash>.safetensors, then stem.json that names it, then drop the one before."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = save_tensors({name: value.detach().contiguous() for name, value in tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    weights = folder / f"{stem}-{digest[:8]}.safetensors"
    write_bytes(weights, content)
    write_json(folder / f"{stem}.json", {"format": FORMAT, "sha256": digest, **description})
    for old in set(folder.glob(f"{stem}-*.safetensors")) - {weights}:
        old.unlink()


def read_tensors(folder: Path, stem: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `write_tensors` wrote: the description without format and hash, and the tensors.

    Raises:
        CheckpointError: JSON of another kind, a newer format, weights missing, cut or changed.
    """
    path = folder / f"{stem}.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        version, digest = int(description.pop("format")), str(description.pop("sha256"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is not a description written by upscore: {type(error).__name__}: {error}"
        ) from error
    if version > FORMAT:
        raise CheckpointError(
            f"{path} has format {version}, this upscore reads up to {FORMAT}: update upscore"
        )
    weights = folder / f"{stem}-{digest[:8]}.safetensors"
    try:
        if weights.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{weights} has over {MAX_BYTES >> 30} GiB: not one of ours")
        content = weights.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{weights}, which {path.name} beside it names, cannot be read: {error}"
        ) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(
            f"{weights} is not the file that {path.name} beside it describes: truncated, changed "
            "or of another run; copy both files again"
        )
    try:
        return description, load_tensors(content)
    except SafetensorError as error:
        raise CheckpointError(f"{weights} is no safetensors file: {error}") from error
