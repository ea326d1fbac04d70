"""Targets of other libraries' losses as `upscore`'s losses take them: whole numbers."""

import torch
from torch import Tensor

from upscore.errors import UnsupportedError

NEVER = -(2**63)  # the ignore_index where no label is ignored


def whole_numbers(target: Tensor, theirs: str) -> Tensor:
    """Return labels as whole numbers; raise UnsupportedError, naming their class, if some are not.

    >>> whole_numbers(torch.tensor([0.0, 1.0, 255.0]), "")
    tensor([  0,   1, 255], dtype=torch.int32)
    """
    if target.dtype == torch.bool:
        return target.to(torch.uint8)
    if not target.is_floating_point():
        return target
    numbers = target.to(torch.int32)
    if not torch.equal(numbers.to(target.dtype), target):
        other = target[numbers != target][0]
        raise UnsupportedError(
            f"target holds {float(other):g}, which is no label: soft labels are left to "
            f"{theirs}, with scores of the target's size"
        )
    return numbers


def numbers_of_one_hot(target: Tensor, theirs: str) -> Tensor:
    """Return the class numbers of an N x C x ... target; raise UnsupportedError if not one-hot.

    >>> numbers_of_one_hot(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), "")
    tensor([[1, 0]], dtype=torch.int16)
    """
    numbers = torch.zeros_like(target[:, 0], dtype=torch.int16)
    total = torch.zeros_like(numbers)
    binary = True
    for number, one in enumerate(target.unbind(1)):  # faster than all at once
        true = (one == 1).to(torch.int16)
        binary &= torch.equal(true.to(one.dtype), one)
        numbers.add_(true, alpha=number)
        total += true
    if not binary or (total != 1).any():
        raise UnsupportedError(
            "target is not one-hot: it must be 1 for one class of each pixel and 0 for the others; "
            f"other targets are left to {theirs}, with scores of the target's size"
        )
    return numbers
