"""List every upsampling layer that a model uses."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.explanation.layers import Explanation

if TYPE_CHECKING:
    from torch import nn

DEFAULT_SIZE = (360, 480)


def explain(
    module: "nn.Module | str | Path", input_shape: Sequence[int] | None = None
) -> Explanation:
    """Run a model once on zeros and list every upsampling layer it uses.

    Transposed convolutions (PyTorch's and ours), `interpolate` and `pixel_shuffle` are found,
    whether as modules or as functions. The model is run as it stands, in evaluation mode, and put
    back afterwards.

    Args:
        module: any `torch.nn.Module` of one tensor, or what `upscore.models.load` takes: "bundled",
            a checkpoint's or a run's folder.
        input_shape: the shape of the zeros, batch and channels first; if not given, one photo of
            360 x 480.

    Returns:
        An `Explanation`, which `rich.print` shows as a table.

    Raises:
        ArgumentError: a shape that is not 2 to 5 positive whole numbers. An error of the model
            itself comes through with a note.
        ArgumentTypeError: no module, nor the name of a checkpoint.
        CheckpointError: the checkpoint cannot be loaded.

    Examples:
        >>> import torch
        >>> layers = explain(torch.nn.ConvTranspose2d(8, 4, 3, stride=2), (1, 8, 16, 16)).layers
        >>> layers[0].size_out, layers[0].shift
        ((33, 33), (0.25, 0.25))
    """
    shape = (1, 3, *DEFAULT_SIZE) if input_shape is None else tuple(input_shape)
    if not (2 <= len(shape) <= 5 and all(isinstance(n, int) and n > 0 for n in shape)):
        raise ArgumentError(
            f"input_shape must be positive whole numbers, batch and channels first, not {shape}"
        )
    # Only here is torch needed: the page itself is made without.
    from torch import nn

    from upscore import models
    from upscore.explanation.trace import trace

    name = str(module) if isinstance(module, str | Path) else type(module).__name__
    if isinstance(module, str | Path):
        module, _ = models.load(module, "cpu")
        if input_shape is None:
            shape = (1, module.bands, *DEFAULT_SIZE)
    if not isinstance(module, nn.Module):
        raise ArgumentTypeError(
            f"expected a torch.nn.Module or the name of a checkpoint, not {name}"
        )
    return Explanation(name, shape, trace(module, shape))
