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
    """How to train a network: every choice, each a field.

    Raises:
        ArgumentError: a value that cannot be; the message says what was expected.

    Examples:
        >>> Recipe(steps=2000, loss="ce").steps
        2000
    """

    architecture: str = "fcn4s"
    """The network: "fcn32s" to "fcn1s". A smaller stride keeps thinner things and takes longer."""
    encoder: str = "tf_efficientnet_lite0"
    """The name of a timm model. A larger one is slower, and often more accurate."""
    width: int | Literal["classes"] = 64
    """Channels of the decoder, or "classes" for the paper's form; see `upscore.models.FCN`."""
    pretrained: bool | str = True
    """Where to start: True (ImageNet weights of the encoder), False, a file of a timm state dict,
    or a model: "bundled" or a folder as `upscore.Predictor` takes it. Set it to go on from a model.
    """
    frozen_norm: bool = True
    """Keep the statistics and scales of the encoder's batch normalisation. Turn it off where they
    are still to be learned, as with `pretrained=False`.
    """
    freeze: tuple[str, ...] = ()
    """Parts of the encoder that keep their weights, by the beginnings of their parameters' names.
    Set it to learn the rest alone.
    """
    steps: int = 1000
    """How many batches to learn from. More for many photos or classes."""
    evaluate_every: int = 100
    """Steps between two validations; there is always one at the end. More where validation takes
    long.
    """
    patience: int = 0
    """Stop after so many validations without a better one; 0 never does."""
    batch_size: int = 4
    """Photos in a step, over all processes. More where a GPU has room."""
    accumulate: int = 1
    """Parts in which a process works through its share of a batch. Raise it to save memory."""
    long_side: int | None = None
    """Pixels: photos are first brought to this longer side, before `scale`; None leaves them. Set
    it for photos of many sizes whose things grow with them.
    """
    crop: int = 256
    """Pixels of a side of the crops. Larger ones show more around a thing, and take longer."""
    scale: tuple[float, float] = (0.5, 2.0)
    """(low, high): photos are resized by factors between these. Raise both where things are small
    or thin.
    """
    flip: bool = True
    """Mirror half of the crops left to right. Turn it off where left and right differ, as in text.
    """
    flip_ud: bool = False
    """Mirror half of the crops upside down. For views from above, through a microscope, and the
    like.
    """
    rotate: float = 0.0
    """Degrees: turn photos by up to so many, either way. For things that lie in any direction."""
    colour: float = 0.5
    """0 to below 1: how much brightness, contrast, saturation and hue change. Lower it where
    colours tell the classes apart.
    """
    foreground: float = 0.0
    """The share of crops, 0 to 1, that are made to hold a pixel of a class other than the
    commonest, if need be in another photo. Raise it where the commonest fills nearly all.
    """
    validation_photos: int = 0
    """At most so many photos are scored in a validation, spread evenly; 0 scores all."""
    encoder_rate: float = 7e-5
    """AdamW's peak learning rate of the encoder. `upscore plan --find-rate` measures one for
    another encoder.
    """
    decoder_rate: float = 2e-3
    """AdamW's peak learning rate of the decoder."""
    weight_decay: float = 1e-2
    """AdamW's weight decay, of all parameters but biases and scales."""
    warmup: float = 0.05
    """The share of all steps, 0 to 1, in which the rates rise from zero. More if the loss jumps."""
    power: float = 0.9
    """After the warm-up the rates fall as (1 - progress) ** power."""
    repeat_rare: float = 0.0
    """The share of photos, 0 to 1, below which a class is rare, so that its photos are shown more
    often (LVIS, Gupta et al. 2019); 0 shows all alike.
    """
    loss: str = "ce+dice"
    """A sum of "ce", "dice", "focal" and "tversky", such as "ce+dice"; see
    `upscore.training.losses`. "tversky" makes missed pixels dearer than false ones.
    """
    class_weights: Literal["none", "sqrt-median"] = "none"
    """Of the cross-entropy: "sqrt-median" gives pixels of rare classes more weight (the square
    roots of SegNet's median-frequency weights). For small things that are in nearly every photo.
    """
    label_smoothing: float = 0.0
    """0 to 1, as for `upscore.cross_entropy`. Raise it a little where masks are not exact."""
    auxiliary: float = 0.5
    """The weight of the losses of all stages but the last. The coarse stages learn first, so short
    runs gain from it.
    """
    ema: float = 0.998
    """The decay per step, 0 to 1, of the averaged weights, which are those that are scored and
    kept.
    """
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """Of the computations: "auto" is bfloat16 or float16 where the hardware has it; "no" is
    float32. Set "no" if a loss becomes NaN.
    """
    seed: int = 0
    """Of the weights and of everything that is drawn. The same seed gives the same run."""
    mapping: Mapping[str, tuple[str, ...]] | None = None
    """Merges and ignores classes: from new names to old ones, as for `upscore.data.find`."""

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
        if self.validation_photos < 0:
            raise ArgumentError(
                f"validation_photos must be 0 or more, not {self.validation_photos}"
            )
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
        auxiliary=0.2,
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
        auxiliary=0.2,
        class_weights="sqrt-median",
    ),
}
