"""Encoders: any timm network as a source of features at strides 2 to 32."""

import logging
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from upscore.errors import ArgumentError
from upscore.models.pretrained import config_of, imagenet_weights, weights_from
from upscore.models.spec import COARSEST

__all__ = ["DEFAULT_ENCODER", "Encoder", "LayerNorm2d", "preprocessing"]

DEFAULT_ENCODER = "tf_efficientnet_lite0"


class Encoder(nn.Module):
    """A timm feature network that answers with one feature map for each reduction asked for."""

    def __init__(
        self,
        name: str,
        reductions: Sequence[int],
        pretrained: bool | str | Path,
        bands: int = 3,
    ) -> None:
        super().__init__()
        _check_name(name)
        self.name, self.reductions = name, tuple(reductions)
        features = _features(name)
        info = features.feature_info.reduction()
        missing = set(reductions) - set(info)
        if missing:
            raise ArgumentError(
                f"encoder {name!r} has features at reductions {sorted(set(info))}, "
                f"but this network needs {sorted(missing)} too; choose a pyramid-shaped encoder, "
                "or an architecture that stops at a coarser stride"
            )
        _check_sizes(name, features)
        # Where a reduction comes more than once, the deepest feature is the richest.
        indices = [max(i for i, r in enumerate(info) if r == want) for want in self.reductions]
        # For other bands than RGB, timm repeats the first layer's weights in turn.
        options: dict[str, Any] = {"out_indices": indices, "in_chans": bands}
        if pretrained:
            state = imagenet_weights(name) if pretrained is True else weights_from(pretrained, name)
            # timm itself knows what its feature networks call the same weights.
            options |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": state}}
        self.network = _features(name, **options)
        self.channels = dict(
            zip(self.reductions, self.network.feature_info.channels(), strict=True)
        )

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        return dict(zip(self.reductions, self.network(images), strict=True))


def _features(name: str, **options: Any) -> Any:
    log = logging.getLogger("timm.models._builder")
    level = log.level
    try:
        log.setLevel(logging.ERROR)  # it warns of a classifier's weights, which are left out here
        return timm.create_model(name, features_only=True, **options)
    except (AttributeError, RuntimeError, TypeError, AssertionError) as error:
        # timm has no common error for networks that cannot answer with their features.
        raise ArgumentError(
            f"encoder {name!r} gives no feature maps ({error}); choose a convolutional network, "
            "such as resnet18 or convnext_tiny"
        ) from error
    finally:
        log.setLevel(level)


def _check_name(name: str) -> None:
    if not timm.is_model(name.split(".")[0]):
        near = get_close_matches(name, timm.list_models(), 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
        raise ArgumentError(f"timm has no encoder {name!r}; {hint}")


def _check_sizes(name: str, features: nn.Module) -> None:
    """Raise ArgumentError for a network that does not take photos of any size.

    timm marks those that may not. Some of them do: one photo tells, flatter and wider than those
    of the weights.
    """
    config = config_of(name)
    if config is None or not config.fixed_input_size:
        return
    _, height, width = config.input_size
    try:
        with torch.no_grad():
            features.eval()(torch.zeros(1, 3, 2 * COARSEST, width + 3 * COARSEST))
    except (AssertionError, IndexError, RuntimeError) as error:
        raise ArgumentError(
            f"encoder {name!r} is made for photos of {height} x {width} pixels ({error}), and "
            "photos come in all sizes; choose a network that takes them, such as convnext_tiny, "
            "resnet18 or tf_efficientnet_lite0"
        ) from error


def preprocessing(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation that an encoder's weights were trained with.

    Args:
        name: of a timm model.

    Returns:
        Mean and standard deviation of R, G and B in 0..1; ImageNet's where timm has no weights.

    Raises:
        ArgumentError: timm has no such model.
    """
    _check_name(name)
    config = config_of(name)
    if config is None:  # a name that timm builds and has no weights for
        return (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return tuple(config.mean), tuple(config.std)
