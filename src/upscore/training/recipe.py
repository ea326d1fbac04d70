"""Recipes: every choice that shapes a training run. `upscore.plan` makes one from the data."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args, get_type_hints

from upscore.errors import ArgumentError

TERMS = ("ce", "dice", "focal", "tversky")  # of losses; `upscore.training.losses` defines them

# What a field may be, by the type of its default.
_KINDS: dict[type, type | tuple[type, ...]] = {
    bool: bool,
    int: int,
    float: (int, float),
    str: str,
    tuple: (tuple, list),
}
_OF_SEVERAL_KINDS = ("width", "pretrained")


@dataclass(frozen=True)
class Recipe:
    """How to train a network.

    Attributes:
        architecture, encoder, width: the network, as for `upscore.models.build`.
        pretrained: where to start: True (ImageNet weights of the encoder), False, a file of a timm
            state dict, or a model: "bundled" or a folder as `upscore.Predictor` takes it.
        frozen_norm: keep the statistics and scales of the encoder's batch normalisation; turn it
            off where they are still to be learned.
        freeze: parts of the encoder that keep their weights, by the beginnings of their
            parameters' names.
        steps: how many batches to learn from.
        evaluate_every: steps between two validations; there is always one at the end.
        patience: stop after so many validations without a better one; 0 never does.
        batch_size: photos in a step, over all processes.
        accumulate: parts in which a process works through its share of a batch, to save memory.
        long_side: photos are first brought to this longer side, before `scale`; None leaves them.
        crop, scale, flip, flip_ud, rotate, colour: as for `upscore.data.TrainTransform`.
        foreground: the share of crops that are made to hold a pixel of a class other than the
            commonest.
        encoder_rate, decoder_rate: AdamW's peak learning rates.
        weight_decay: AdamW's, for all parameters but biases and scales.
        warmup: the share of all steps in which the rates rise from zero.
        power: after the warm-up the rates fall as (1 - progress) ** power.
        repeat_rare: the share of photos below which a class is rare, so that its photos are shown
            more often (LVIS, Gupta et al. 2019); 0 shows all alike.
        loss: "ce", "ce+dice", "focal", "ce+tversky", ...: see `upscore.training.losses`.
        class_weights: "sqrt-median" gives pixels of rare classes more weight in the cross-entropy
            (the square roots of SegNet's median-frequency weights).
        label_smoothing: as for `upscore.cross_entropy`.
        auxiliary: the weight of the losses of all stages but the last.
        ema: the decay per step of the averaged weights, which are those that are scored and kept.
        precision: "auto" is bfloat16 or float16 where the hardware has it; "no" is float32.
        seed: of the weights and of everything that is drawn.
        mapping: merges and ignores classes, as for `upscore.data.find`.
    """

    architecture: str = "fcn4s"
    encoder: str = "tf_efficientnet_lite0"
    width: int | Literal["classes"] = 64
    pretrained: bool | str = True
    frozen_norm: bool = True
    freeze: tuple[str, ...] = ()
    steps: int = 1000
    evaluate_every: int = 100
    patience: int = 0
    batch_size: int = 4
    accumulate: int = 1
    long_side: int | None = None
    crop: int = 256
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    flip_ud: bool = False
    rotate: float = 0.0
    colour: float = 0.5
    foreground: float = 0.0
    encoder_rate: float = 7e-5
    decoder_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup: float = 0.05
    power: float = 0.9
    repeat_rare: float = 0.0
    loss: str = "ce+dice"
    class_weights: Literal["none", "sqrt-median"] = "none"
    label_smoothing: float = 0.0
    auxiliary: float = 0.2
    ema: float = 0.998
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    seed: int = 0
    mapping: Mapping[str, tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            kinds = _KINDS.get(type(field.default), object)
            value = getattr(self, field.name)
            if field.name not in _OF_SEVERAL_KINDS and not isinstance(value, kinds):
                raise ArgumentError(
                    f"{field.name} is {value!r}, but a value such as {field.default!r} was expected"
                )
        for name in ("steps", "evaluate_every", "batch_size", "accumulate", "crop"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.long_side is not None and not (type(self.long_side) is int and self.long_side > 0):
            raise ArgumentError(f"long_side must be pixels or None, not {self.long_side!r}")
        numbers = all(isinstance(value, int | float) for value in self.scale)
        if not numbers or len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise ArgumentError(f"scale must be a pair (low, high), not {self.scale!r}")
        for name in ("class_weights", "precision"):
            allowed, value = get_args(get_type_hints(Recipe)[name]), getattr(self, name)
            if value not in allowed:
                expected = ", ".join(allowed)
                raise ArgumentError(f"{name} is {value!r}, but one of {expected} was expected")
        if self.width != "classes" and not (type(self.width) is int and self.width > 0):
            raise ArgumentError(f'width is {self.width!r}, but "classes" or channels were expected')
        if self.seed < 0:
            raise ArgumentError(f"seed must be at least 0, not {self.seed}")
        terms_of(self.loss)


def is_model(pretrained: bool | str) -> bool:
    """Whether a run begins from a model, not from weights of an encoder alone."""
    return isinstance(pretrained, str) and (pretrained == "bundled" or Path(pretrained).is_dir())


def terms_of(loss: str) -> tuple[str, ...]:
    """The terms of a loss by name; ArgumentError for one that does not exist.

    >>> terms_of("ce+dice")
    ('ce', 'dice')
    """
    terms = tuple(loss.split("+"))
    if not set(terms) <= set(TERMS) or len(set(terms)) < len(terms):
        raise ArgumentError(
            f"loss is {loss!r}; expected a sum of {', '.join(TERMS)}, such as 'ce+dice'"
        )
    return terms


RECIPES = {
    "voc-animals": Recipe(
        encoder="tf_efficientnet_lite2",
        batch_size=8,
        crop=320,
        scale=(0.6, 1.8),
        steps=8000,
        evaluate_every=800,
        colour=0.3,
        encoder_rate=1.5e-4,
        repeat_rare=0.4,
        mapping={
            "background": ("*",),
            **{name: (name,) for name in ("person", "cat", "dog", "horse", "sheep", "cow")},
        },
    ),
    "camvid": Recipe(
        batch_size=8,
        crop=448,
        scale=(1.0, 2.5),
        steps=3600,
        evaluate_every=300,
        colour=0.3,
        encoder_rate=1.5e-4,
        class_weights="sqrt-median",
    ),
}
