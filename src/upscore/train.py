"""Training: a folder of photos and masks becomes a checkpoint."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from upscore import metrics
from upscore.data import Dataset, TrainTransform
from upscore.heads import argmax, cross_entropy
from upscore.models import FCN, Spec, build, normalise, preprocessing
from upscore.recipes import Recipe
from upscore.runs import Run

VOID = 255


def fit(
    recipe: Recipe,
    training: Dataset,
    validation: Dataset,
    folder: str | Path,
    *,
    resume: bool = False,
    workers: int = 2,
    save_every: int = 100,
) -> Run:
    """Train by the recipe into `folder`; what `upscore.train` does once the data are found.

    Every draw is a function of the seed and the global step, so a resumed run continues as if it
    had never stopped, and the number of processes does not change the photos a step sees.
    """
    accelerator = Accelerator(mixed_precision=_precision(recipe.precision))
    run = Run(Path(folder), recipe, training, main=accelerator.is_main_process)
    network = build_network(recipe, len(training.classes))
    spec = _spec(recipe, training)
    average = AveragedModel(network, multi_avg_fn=_ema(recipe.ema), use_buffers=True)
    average = average.to(accelerator.device).eval().requires_grad_(False)
    if accelerator.device.type == "cpu" and accelerator.mixed_precision == "bf16":
        _keep_depthwise_float32(network)
    model = Objective(network, recipe, _class_weights(recipe, training), spec)
    model = model.to(accelerator.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(_parameter_groups(network, recipe), weight_decay=0.0)
    model, optimizer = accelerator.prepare(model, optimizer)

    per_epoch = max(1, len(training) // recipe.batch_size)
    total = per_epoch * recipe.epochs
    step = run.start(network, average, optimizer, resume=resume)
    batches = _batches(training, recipe, accelerator, step, total, workers)
    with run.progress(total) as progress:
        for images, target in batches:
            _set_rates(optimizer, recipe, step / total)
            torch.manual_seed(_seed(recipe.seed, step))  # stochastic depth and dropout
            losses, pixels = model(images.to(accelerator.device), target.to(accelerator.device))
            pixels = accelerator.reduce(pixels, reduction="sum")
            # Processes average their gradients; the loss is the sum of theirs over all pixels.
            loss = losses * accelerator.num_processes / pixels.clamp_min(1)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(network)
            step += 1
            progress(step, accelerator.reduce(losses.detach(), "sum") / pixels.clamp_min(1))
            if step % per_epoch == 0:
                scores = validate(average.module, spec, validation, accelerator)
                if run.record(step // per_epoch, step, scores):
                    run.save_best(average.module, spec, scores)
            if step % per_epoch == 0 or step % save_every == 0:
                run.save_state(step, network, average, optimizer)
    run.finish(average.module, spec)
    return run


class Objective(nn.Module):
    """The network and its loss in one module, so that one forward pass gives what is minimised."""

    def __init__(
        self, network: FCN, recipe: Recipe, class_weights: Tensor | None, spec: Spec
    ) -> None:
        super().__init__()
        self.network, self.recipe, self.spec = network, recipe, spec
        self.register_buffer("class_weights", class_weights, persistent=False)

    def train(self, mode: bool = True) -> "Objective":
        super().train(mode)
        if self.recipe.frozen_norm:
            for module in self.network.encoder.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the losses of this process's photos, and the (weighted) count of valid pixels."""
        images = normalise(images, self.spec).contiguous(memory_format=torch.channels_last)
        stages = zip(self.network.stages(images), self.network.strides, strict=True)
        sums = [self._sum(scores, target, stride) for scores, stride in stages]
        loss = sums[-1] + self.recipe.auxiliary * sum(sums[:-1], torch.zeros_like(sums[-1]))
        valid = target[target != VOID].long()
        weights = self.class_weights
        return loss, valid.new_tensor(len(valid)).float() if weights is None else weights[
            valid
        ].sum()

    def _sum(self, scores: Tensor, target: Tensor, stride: int) -> Tensor:
        return cross_entropy(
            scores.float(),
            target,
            weight=self.class_weights,
            label_smoothing=self.recipe.label_smoothing,
            reduction="sum",
            stride=stride,
        )


@torch.inference_mode()
def validate(
    network: nn.Module, spec: Spec, data: Dataset, accelerator: Accelerator
) -> metrics.Scores:
    """Scores over a split at the masks' own size; each process takes every n-th photo, once."""
    counts = np.zeros((len(data.classes), len(data.classes)), np.int64)
    for i in range(accelerator.process_index, len(data), accelerator.num_processes):
        image, mask = data.read(i)
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(accelerator.device)
        with accelerator.autocast():
            scores = network(normalise(pixels, spec).contiguous(memory_format=torch.channels_last))
        labels = argmax(scores.float(), size=mask.shape, stride=network.stride)
        counts += metrics.confusion(labels[0].cpu().numpy(), mask, len(data.classes))
    pooled = accelerator.reduce(torch.from_numpy(counts).to(accelerator.device), "sum")
    return metrics.scores(pooled.cpu().numpy())


def build_network(recipe: Recipe, classes: int) -> FCN:
    """The recipe's network, what it freezes without gradients."""
    torch.manual_seed(recipe.seed)
    network = build(
        recipe.architecture,
        classes,
        encoder=recipe.encoder,
        width=recipe.width,
        pretrained=recipe.pretrained,
    )
    if recipe.frozen_norm and not recipe.pretrained:
        raise ValueError(
            "frozen_norm keeps pretrained statistics, but pretrained is off: set frozen_norm=False"
        )
    for name, parameter in network.encoder.network.named_parameters():
        if name.startswith(recipe.freeze):
            parameter.requires_grad_(False)
    if recipe.frozen_norm:
        for module in network.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)
    return network


class _Crops(TorchDataset[tuple[Tensor, Tensor]]):
    """Augmented photos by their place in the run: place p is the p-th photo trained on."""

    def __init__(self, data: Dataset, recipe: Recipe, per_epoch: int) -> None:
        self.data, self.seed, self.per_epoch = data, recipe.seed, per_epoch
        self.transform = TrainTransform(recipe.crop, recipe.scale, recipe.flip, recipe.colour)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(place, self.per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.data))
        image, mask = self.data.read(int(order[position % len(self.data)]))
        return self.transform(image, mask, torch.Generator().manual_seed(_seed(self.seed, place)))


def _batches(
    data: Dataset, recipe: Recipe, accelerator: Accelerator, step: int, total: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's share of every global batch from `step` on."""
    size, rank, world = recipe.batch_size, accelerator.process_index, accelerator.num_processes
    if size % world:
        raise ValueError(f"batch size {size} cannot be shared by {world} processes")
    per_epoch = max(1, len(data) // size) * size
    places = [range(s * size + rank, (s + 1) * size, world) for s in range(step, total)]
    loader = DataLoader(
        _Crops(data, recipe, per_epoch),
        batch_sampler=places,  # type: ignore[arg-type]  # any iterable of lists of places will do
        num_workers=workers,
        pin_memory=accelerator.device.type == "cuda",
    )
    return iter(loader)


def _set_rates(optimizer: Any, recipe: Recipe, progress: float) -> None:
    """Linear warm-up, then polynomial decay to zero at the end of the run."""
    rise = min(1.0, (progress + 1e-9) / max(recipe.warmup, 1e-9))
    fall = ((1 - progress) / (1 - recipe.warmup)) ** recipe.power if rise == 1 else 1.0
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * rise * fall


def _parameter_groups(network: FCN, recipe: Recipe) -> list[dict[str, Any]]:
    """Encoder and decoder with rates of their own; biases and scales without weight decay."""
    groups = []
    for rate, encoder in ((recipe.encoder_rate, True), (recipe.decoder_rate, False)):
        for decay, vectors in ((recipe.weight_decay, False), (0.0, True)):
            parameters = [
                p
                for name, p in network.named_parameters()
                if p.requires_grad
                and name.startswith("encoder.") == encoder
                and (p.ndim <= 1) == vectors
            ]
            groups.append({"params": parameters, "peak": rate, "lr": rate, "weight_decay": decay})
    return groups


def _class_weights(recipe: Recipe, data: Dataset) -> Tensor | None:
    """Square root of median frequency over frequency (SegNet's balancing, softened)."""
    if recipe.class_weights == "none":
        return None
    pixels = np.zeros(256, np.int64)
    for i in range(len(data)):
        pixels += np.bincount(data.read(i)[1].ravel(), minlength=256)
    counts = pixels[: len(data.classes)]
    present = counts > 0
    weights = np.ones(len(counts))
    weights[present] = np.sqrt(np.median(counts[present]) / counts[present])
    return torch.from_numpy(weights).float()


def _ema(decay: float) -> Any:
    """Exponential moving average whose first steps weigh more, so that it forgets the start."""

    def update(averages: list[Tensor], values: list[Tensor], seen: Tensor | int) -> None:
        keep = min(decay, (1 + int(seen)) / (10 + int(seen)))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value.to(average.dtype), 1 - keep)
            else:
                average.copy_(value)

    return torch.no_grad()(update)


def _keep_depthwise_float32(network: nn.Module) -> None:
    """Run depthwise convolutions in float32 under autocast: oneDNN's bfloat16 gradients of them
    take two to fifteen times as long on the CPU."""
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d) and conv.groups == conv.in_channels > 1:
            conv.forward = _in_float32(conv.forward)  # type: ignore[method-assign]


def _in_float32(forward: Any) -> Any:
    def run(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float()).to(x.dtype)  # type: ignore[no-any-return]

    return run


def _precision(wanted: str) -> str:
    """The mixed precision that helps here: bfloat16 where the hardware has it."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "no"


def _seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)


def _spec(recipe: Recipe, data: Dataset) -> Spec:
    mean, std = preprocessing(recipe.encoder)
    return Spec(
        architecture=recipe.architecture,
        encoder=recipe.encoder,
        width=recipe.width,
        classes=data.classes,
        palette=data.palette,
        mean=mean,
        std=std,
        card={"data": data.root.name, "photos": len(data), "recipe": asdict(recipe)},
    )
