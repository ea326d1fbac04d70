"""What training minimises and how it steps: network, loss, rates and the averaged weights."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from upscore.data import Survey
from upscore.errors import ArgumentError
from upscore.models import FCN, Spec, build, load
from upscore.models.folding import fold_norms
from upscore.models.normalisation import Normalise
from upscore.training.depthwise import quicken
from upscore.training.losses import loss_of, weight_of
from upscore.training.recipe import Recipe, is_model, terms_of


def build_network(recipe: Recipe, class_names: Sequence[str], bands: int = 3) -> FCN:
    """The recipe's network, initialised from its seed; what it freezes takes no gradient."""
    if recipe.frozen_norm and not recipe.pretrained:
        raise ArgumentError(
            "frozen_norm keeps pretrained statistics, but pretrained is off: turn frozen_norm off"
        )
    torch.manual_seed(recipe.seed)
    start = recipe.pretrained
    network = build(
        recipe.architecture,
        len(class_names),
        encoder=recipe.encoder,
        width=recipe.width,
        pretrained=False if is_model(start) else start,
        bands=bands,
    )
    if is_model(start):
        _adopt(network, str(start), class_names)
    for name, parameter in network.encoder.network.named_parameters():
        if name.startswith(recipe.freeze):
            parameter.requires_grad_(False)
    if recipe.frozen_norm:
        for norm in _norms(network):
            norm.requires_grad_(False)
    return network


def _adopt(network: FCN, source: str, class_names: Sequence[str]) -> None:
    """Take over a model's weights: of its classifiers those of the same classes, by their names.

    Layers of other shapes stay as they are.
    """
    trained, spec = load(source)
    if spec.encoder != network.encoder.name:
        raise ArgumentError(
            f"{source} has the encoder {spec.encoder}, this run {network.encoder.name}: "
            "choose the same encoder, or other pretrained weights"
        )
    if trained.bands != network.bands:
        raise ArgumentError(
            f"{source} takes photos of {trained.bands} bands, these have {network.bands}: begin "
            "with ImageNet weights instead (pretrained=true), which adapt"
        )
    own, same = network.state_dict(), {}
    # With a width of "classes" each channel of the decoder is of a class.
    alike = spec.width != "classes" or tuple(class_names) == spec.class_names
    theirs = [spec.class_names.index(name) for name in class_names if name in spec.class_names]
    ours = [class_names.index(name) for name in class_names if name in spec.class_names]
    for name, value in trained.state_dict().items():
        if name.startswith("classify_") and name in own and value.shape[1:] == own[name].shape[1:]:
            same[name] = own[name].clone()
            same[name][ours] = value[theirs]
        elif name in own and value.shape == own[name].shape and (alike or "encoder." in name):
            same[name] = value
    network.load_state_dict(same, strict=False)


class Objective(nn.Module):
    """The network and its loss in one module: one forward pass gives what is minimised."""

    class_weights: Tensor | None

    def __init__(
        self,
        network: FCN,
        recipe: Recipe,
        normalise: nn.Module,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.network, self.recipe, self.terms = network, recipe, terms_of(recipe.loss)
        self.normalise = normalise
        self.register_buffer("class_weights", class_weights, persistent=False)

    def train(self, mode: bool = True) -> "Objective":
        super().train(mode)
        if self.recipe.frozen_norm:
            for norm in _norms(self.network):
                norm.eval()
        return self

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """The loss of photos N x B x H x W, times `weight_of(target, class_weights)`."""
        pixels = self.normalise(images).contiguous(memory_format=torch.channels_last)
        *coarse, last = self.network.stages(pixels)
        options: Any = {
            "weight": self.class_weights,
            "label_smoothing": self.recipe.label_smoothing,
        }
        loss: Tensor = loss_of(
            self.terms, last.float(), target, stride=self.network.stride, **options
        )
        for stride, scores in zip(self.network.strides[:-1], coarse, strict=True):
            loss = loss + self.recipe.auxiliary * loss_of(
                ("ce",), scores.float(), target, stride=stride, **options
            )
        return loss


def learner(
    recipe: Recipe, spec: Spec, survey: Survey, device: torch.device
) -> tuple[Objective, torch.optim.Optimizer]:
    """The network in its objective, and the optimizer, as a run begins."""
    network = build_network(recipe, spec.class_names, spec.bands or 3)
    if recipe.frozen_norm:
        fold_norms(network.encoder.network, network.bands)
    if device.type == "cpu":
        quicken(network)
    weights = None
    if recipe.class_weights != "none":
        weights = median_frequency_weights(survey.class_pixels)
    model = Objective(network, recipe, Normalise(spec), weights)
    model = model.to(device).to(memory_format=torch.channels_last).train()
    # All parameters in one pass, which takes a quarter of the time of one after the other.
    return model, torch.optim.AdamW(parameter_groups(network, recipe), fused=True)


def gradients(
    accelerator: Any, model: nn.Module, images: Tensor, target: Tensor, recipe: Recipe, weight: Any
) -> Tensor:
    """Add up the gradients of one batch, part by part, and return its loss over all processes."""
    total = accelerator.reduce(weight_of(target, weight), "sum").clamp_min(1e-6)
    parts = min(recipe.accumulate, len(images))
    pairs = list(zip(images.chunk(parts), target.chunk(parts), strict=True))
    summed = total.new_zeros(())
    for i, (photos, masks) in enumerate(pairs):
        last = i == len(pairs) - 1
        with nullcontext() if last else accelerator.no_sync(model):
            loss = model(photos, masks)
            # Gradients are averaged over the processes, but the loss is one sum over their pixels.
            accelerator.backward(loss * (accelerator.num_processes / total))
        summed += loss.detach()
    return cast(Tensor, accelerator.reduce(summed, "sum") / total)


def _norms(network: FCN) -> list[nn.BatchNorm2d]:
    return [m for m in network.encoder.modules() if isinstance(m, nn.BatchNorm2d)]


def parameter_groups(network: FCN, recipe: Recipe) -> list[dict[str, Any]]:
    """Encoder and decoder with peak rates of their own; biases and scales without weight decay."""
    groups = []
    for encoder, rate in ((True, recipe.encoder_rate), (False, recipe.decoder_rate)):
        for vectors, decay in ((False, recipe.weight_decay), (True, 0.0)):
            parameters = [
                parameter
                for name, parameter in network.named_parameters()
                if parameter.requires_grad
                and name.startswith("encoder.") == encoder
                and (parameter.ndim <= 1) == vectors
            ]
            groups.append({"params": parameters, "peak": rate, "lr": rate, "weight_decay": decay})
    return groups


def set_rates(optimizer: torch.optim.Optimizer, recipe: Recipe, progress: float) -> None:
    """Linear warm-up to the peak, then polynomial decay to zero at the end of the run."""
    if progress < recipe.warmup:
        factor = progress / recipe.warmup
    else:
        factor = ((1 - progress) / (1 - recipe.warmup)) ** recipe.power
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def median_frequency_weights(class_pixels: NDArray[np.int64]) -> Tensor:
    """Square roots of SegNet's median-frequency weights, from N x C pixel counts of the masks.

    A class's frequency is its share of the pixels of the images that hold it at all. A class in
    no image weighs 1.
    """
    seen = class_pixels.sum(axis=0)
    frequency = seen / np.maximum((class_pixels > 0).T @ class_pixels.sum(axis=1), 1)
    weights = np.ones(len(seen))
    present = seen > 0
    if present.any():
        weights[present] = np.sqrt(np.median(frequency[present]) / frequency[present])
    return torch.from_numpy(weights).float()


def averaging(decay: float) -> Any:
    """An update of `AveragedModel`: an exponential average that soon forgets the first steps."""

    @torch.no_grad()
    def update(averages: Any, values: Any, seen: Tensor | int) -> None:
        keep = min(decay, (1 + int(seen)) / (10 + int(seen)))
        if averages[0].is_floating_point():  # torch hands over tensors of one type together
            torch._foreach_lerp_(averages, values, 1 - keep)
        else:
            torch._foreach_copy_(averages, values)

    return update


def precision(wanted: str, device: torch.device) -> str:
    """The mixed precision to use: where "auto", bfloat16 or float16 if the hardware has it."""
    if wanted == "fp16" and device.type == "cpu":
        raise ArgumentError(
            "precision is 'fp16', which needs a GPU: choose 'auto', or 'bf16' or 'no' on a CPU"
        )
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "no"


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """The recipe's mixed precision on a device, as a context."""
    wanted = precision(recipe.precision, device)
    dtype = torch.float16 if wanted == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=wanted != "no")
