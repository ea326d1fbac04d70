"""Losses in the place of another library's: which calls are served, and their comparison."""

from contextlib import suppress
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from upscore.arrays import framework
from upscore.compat.serving import Function, are_scores
from upscore.compat.verification import verify_loss
from upscore.errors import UnsupportedError, UpscoreError

FEWEST = 2**18  # scores: of fewer at full resolution the libraries are as fast, or faster


def check_served(loss: Any, served: dict[str, Any], theirs: str) -> None:
    """Raise UnsupportedError, naming the library's class, for settings other than these."""
    for name, value in served.items():
        if getattr(loss, name, value) is not value:
            raise UnsupportedError(f"{name} must be {value} here: others are left to {theirs}")


def loss_in_place(
    own: Function, verify: bool, serve: Function, loss: Any, scores: Any, target: Any
) -> Any:
    """The loss by `serve` if it takes these, many and of equal sizes, else by the library's own."""
    ours = None
    if _fit(scores, target):
        with suppress(UpscoreError):  # it says what is the library's
            ours = serve(loss, scores, target)
    if ours is None:
        return own(loss, scores, target)
    if verify:
        target = target.double() if target.is_floating_point() else target
        verify_loss(ours, own(deepcopy(loss).double(), scores.detach().double(), target))
    return ours


def _fit(scores: Any, target: Any) -> bool:
    return (
        are_scores(scores)
        and scores.dtype in (torch.float32, torch.float64)
        and isinstance(target, Tensor)
        and not framework(target).traced(target)
        and scores.numel() >= FEWEST
        and scores.ndim in (4, 5)
        and scores.shape[2:] == target.shape[2 - scores.ndim :]
    )
