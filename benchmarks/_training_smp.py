"""The contenders of segmentation_models_pytorch in benchmarks/training.py: a plain expert recipe.

    python benchmarks/_training_smp.py train NETWORK DATA RUN --seed N
    python benchmarks/_training_smp.py predict NETWORK DATA RUN LABELS

Network: `Unet` or `DeepLabV3Plus` as the library makes them, on the encoder of upscore's plan with
the ImageNet weights that upscore starts from.

- AdamW, 1e-3 for the decoder and 3e-4 for the encoder, weight decay 1e-2. The rates rise over the
  first 5 % of the time and then fall to zero along a cosine. The clock drives them, so that they
  reach zero when the time is up, however long a step takes.
- Cross-entropy plus Dice over all classes, in equal parts; void counts in neither.
- Batches of 8 crops of 256 x 256, from photos resized by a factor of 0.5 to 2, flipped left to
  right (those without an up and down also upside down, and on their side), with brightness,
  contrast, saturation and hue varied: all by torchvision, in two worker processes. Photos are
  decoded once and kept in memory.
- Batch normalisation learns, as by default.
- Validation on whole photos at their own size after each tenth of the time, less often where a
  validation would then take over a tenth of the time; the weights with the best mIoU are kept. The
  photos are those of val/, and where there is no val/ every tenth of train/.
- channels_last and, on processors that have bfloat16, mixed precision. With what PyTorch lets
  anyone do on processors: depthwise convolutions stay in float32, without which a mixed step of the
  U-Net takes 1.4 times as long, AdamW is the fused one, and freed memory is kept for the next step.
  upscore's own training also has a kernel for depthwise convolutions (`benchmarks/depthwise.py`).
- The budget holds everything from the start of the process to the saved weights: imports, decoding,
  validation. UPSCORE_STARTED and UPSCORE_SECONDS in the environment say what it is.
- Prediction: the whole photo at its own size, padded at the bottom and right to a multiple of 32 by
  repeating its last row and column, in float32, without averaging over flips.
"""

import argparse
import copy
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from _training_sets import SETS, class_names, mask_of, photos
from upscore import images
from upscore.evaluation import metrics
from upscore.models.encoder import Encoder
from upscore.training.allocator import keep_freed
from upscore.training.choices import ENCODER
from upscore.training.objective import precision

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # photo and mask

ENCODER_RATE, DECODER_RATE, WEIGHT_DECAY = 3e-4, 1e-3, 1e-2
WARMUP = 0.05  # of the time
BATCH, CROP, SCALE = 8, 256, (0.5, 2.0)
VOID = 255
VALIDATIONS = 10  # at most; they take at most about a tenth of the time
SAVING = 1.0  # seconds
WEIGHTS, FACTS = "weights.pt", "facts.json"
MEAN = 255 * torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1)  # of ImageNet
STD = 255 * torch.tensor([0.229, 0.224, 0.225]).view(-1, 1, 1)
WORKERS = 2


def build(name: str, classes: int, *, pretrained: bool) -> nn.Module:
    """A network of the library; encoder weights from the package that upscore takes them from."""
    network = getattr(smp, name)(f"tu-{ENCODER}", encoder_weights=None, classes=classes)
    if pretrained:
        source = Encoder(ENCODER, (2, 4, 8, 16, 32), True)
        network.encoder.model.load_state_dict(source.network.state_dict())
    return network.to(memory_format=torch.channels_last)


def read(folder: Path, split: str) -> list[Pair]:
    """All photos of a split (H x W x 3) and their masks (H x W), decoded."""
    pairs = []
    for name, path in photos(folder, split).items():
        with Image.open(mask_of(folder, split, name)) as mask:
            pairs.append((images.read(path), np.array(mask)))
    return pairs


def divided(folder: Path) -> tuple[list[Pair], list[Pair]]:
    """The photos to learn from and those to validate on."""
    train, val = read(folder, "train"), read(folder, "val")
    if not val:
        val = train[::10]
        train = [pair for i, pair in enumerate(train) if i % 10]
    return train, val


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """An endless supply of augmented crops; the photos take turns in an order of each epoch."""

    def __init__(self, pairs: list[Pair], seed: int, *, any_way_up: bool) -> None:
        self.pairs, self.seed, self.any_way_up = pairs, seed, any_way_up
        self.after_resizing = v2.Compose(
            [
                v2.RandomCrop(
                    CROP,
                    pad_if_needed=True,
                    fill={tv_tensors.Image: MEAN.flatten().tolist(), tv_tensors.Mask: VOID},
                ),
                v2.RandomHorizontalFlip(),
                v2.RandomVerticalFlip(0.5 if any_way_up else 0.0),
                v2.ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.05),
            ]
        )

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(1_000_003 * self.seed + item)
        epoch, position = divmod(item, len(self.pairs))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.pairs))
        photo, mask = (torch.from_numpy(part) for part in self.pairs[order[position]])
        image = photo.permute(2, 0, 1)
        factor = torch.empty(()).uniform_(*SCALE).item()
        size = [round(side * factor) for side in mask.shape]
        image = v2.functional.resize(image, size, antialias=True)
        mask = v2.functional.resize(mask[None], size, InterpolationMode.NEAREST_EXACT)
        if self.any_way_up and torch.rand(()) < 0.5:
            image, mask = image.mT, mask.mT
        crop, target = self.after_resizing(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return crop.as_subclass(Tensor).contiguous(), target.as_subclass(Tensor)[0].contiguous()


def batches(crops: Crops) -> Iterator[Any]:
    """Batches without end."""
    return iter(DataLoader(crops, BATCH, num_workers=WORKERS, persistent_workers=True))


def keep_depthwise_float32(network: nn.Module) -> None:
    """Run depthwise convolutions, whose gradients are slow in bfloat16, in float32."""

    def in_float32(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return forward(x.float()).to(x.dtype)

    for conv in network.modules():
        if isinstance(conv, nn.Conv2d) and conv.groups == conv.in_channels > 1:
            conv.forward = partial(in_float32, conv.forward)


def normalised(photos: Tensor) -> Tensor:
    return ((photos.float() - MEAN) / STD).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def labels_of(network: nn.Module, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The labels (H x W) of a whole photo; the network is in evaluation mode."""
    height, width = photo.shape[:2]
    image = torch.from_numpy(photo).permute(2, 0, 1)[None]
    padded = F.pad(normalised(image), (0, -width % 32, 0, -height % 32), mode="replicate")
    scores = network(padded)[0, :, :height, :width]
    return scores.argmax(0).to(torch.uint8).numpy()


def validate(network: nn.Module, pairs: list[Pair], classes: int) -> float:
    """The mIoU on whole photos, from one pooled confusion matrix."""
    network.eval()
    total = sum(
        metrics.confusion(labels_of(network, photo), mask, classes) for photo, mask in pairs
    )
    network.train()
    return metrics.scores(total).mean_iou


def rate_at(progress: float) -> float:
    """The share of the peak learning rate at a share of the time."""
    if progress < WARMUP:
        return progress / WARMUP
    return (1 + math.cos(math.pi * min(1, (progress - WARMUP) / (1 - WARMUP)))) / 2


class Loss(nn.Module):
    """Cross-entropy plus Dice."""

    def __init__(self) -> None:
        super().__init__()
        self.dice = smp.losses.DiceLoss("multiclass", ignore_index=VOID)

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(scores, target, ignore_index=VOID) + self.dice(scores, target)


class Clock:
    """The time of a run: what of it is spent, and what must be kept for the end."""

    def __init__(self, started: float, seconds: float) -> None:
        self.begin = self.last = self.validated = time.time()
        self.deadline, self.between = started + seconds, seconds / VALIDATIONS
        self.step = self.validation = 0.0  # what the last one took

    @property
    def end(self) -> float:
        """When training has to stop, for one more validation and for saving."""
        return self.deadline - SAVING - 1.1 * self.validation

    @property
    def progress(self) -> float:
        """The share of the time for training that is over."""
        return min(1.0, (self.last - self.begin) / max(self.end - self.begin, 1e-9))

    @property
    def over(self) -> bool:
        """Whether another step would end too late."""
        return self.last + 1.1 * self.step > self.end

    @property
    def validation_due(self) -> bool:
        return self.last - self.validated > max(self.between, VALIDATIONS * self.validation)

    def stepped(self) -> None:
        self.step, self.last = time.time() - self.last, time.time()

    def validated_now(self) -> None:
        self.validation, self.last = time.time() - self.last, time.time()
        self.validated = self.last


class Best:
    """The weights with the best validation score so far; of equal ones the later."""

    def __init__(self) -> None:
        self.scores: list[float] = []
        self.step = 0
        self.weights: dict[str, Tensor] = {}

    def offer(self, score: float, step: int, network: nn.Module) -> None:
        if not self.scores or score >= max(self.scores):
            self.step, self.weights = step, copy.deepcopy(network.state_dict())
        self.scores.append(score)


def optimizer_of(network: nn.Module) -> torch.optim.Optimizer:
    """AdamW with a peak rate each for encoder and decoder."""
    encoder = {id(parameter) for parameter in network.encoder.parameters()}
    groups = [
        {"params": [p for p in network.parameters() if (id(p) in encoder) == inside], "peak": peak}
        for inside, peak in ((True, ENCODER_RATE), (False, DECODER_RATE))
    ]
    return torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY, fused=True)


def train(options: argparse.Namespace) -> None:
    """Train until the budget is spent; write the best weights and facts.json."""
    keep_freed()
    torch.manual_seed(options.seed)
    mixed = precision("auto", torch.device("cpu")) == "bf16"
    classes = len(class_names(options.data))
    network = build(options.network, classes, pretrained=True).train()
    keep_depthwise_float32(network)
    pairs, val = divided(options.data)
    crops = Crops(pairs, options.seed, any_way_up=SETS[options.data.name].any_way_up)
    optimizer, loss, best, steps = optimizer_of(network), Loss(), Best(), 0
    clock = Clock(*(float(os.environ[f"UPSCORE_{name}"]) for name in ("STARTED", "SECONDS")))
    for batch, target in batches(crops):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate_at(clock.progress)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            scores = network(normalised(batch))
        loss(scores.float(), target.long()).backward()
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
        clock.stepped()
        if clock.over or clock.validation_due:
            best.offer(validate(network, val, classes), steps, network)
            clock.validated_now()
        if clock.over:
            break
    options.run.mkdir(parents=True, exist_ok=True)
    torch.save(best.weights, options.run / WEIGHTS)
    facts = {"steps": steps, "best step": best.step, "validation mIoU": best.scores}
    (options.run / FACTS).write_text(json.dumps(facts))


def predict(options: argparse.Namespace) -> None:
    """Write the label maps of the test photos."""
    network = build(options.network, len(class_names(options.data)), pretrained=False)
    network.load_state_dict(torch.load(options.run / WEIGHTS, weights_only=True))
    network.eval()
    options.labels.mkdir(parents=True, exist_ok=True)
    for name, path in photos(options.data, "test").items():
        labels = labels_of(network, images.read(path))
        Image.fromarray(labels).save(options.labels / f"{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    for call in (train, predict):
        command = commands.add_parser(call.__name__)
        command.set_defaults(call=call)
        command.add_argument("network", choices=("Unet", "DeepLabV3Plus"))
        command.add_argument("data", type=Path)
        command.add_argument("run", type=Path)
        if call is predict:
            command.add_argument("labels", type=Path)
        else:
            command.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
