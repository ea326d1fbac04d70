"""At which size the network is shown photos: chosen on the validation photos after training."""

from collections.abc import Callable
from dataclasses import replace

from upscore.data import Dataset
from upscore.evaluation.metrics import Scores
from upscore.models import Spec

FACTORS = (0.75, 1.0, 1.25, 1.5)  # of the size that training was planned for
PHOTOS = 50  # that it is tried on: more cost time and hardly change what is best
WORTH = 0.002  # of mean IoU: a larger size, which takes longer, has to gain at least that


def best_size(spec: Spec, score: Callable[[Spec], Scores]) -> tuple[Spec, Scores]:
    """Return the spec at the size that scores best, and those scores.

    What each size scored stands on the spec's card. `score` scores the model at a spec's size.
    """
    found = {factor: score(resized(spec, factor)) for factor in FACTORS}
    best = 1.0
    for factor in FACTORS:
        worth = WORTH if factor > best else 0.0
        if found[factor].mean_iou > found[best].mean_iou + worth:
            best = factor
    sizes = {size(resized(spec, factor)): scores.mean_iou for factor, scores in found.items()}
    chosen = resized(spec, best)
    return replace(chosen, card={**spec.card, "validation_at_sizes": sizes}), found[best]


def few(validation: Dataset) -> Dataset:
    """At most 50 photos, spread over the validation photos."""
    every = -(-len(validation) // PHOTOS)
    return replace(validation, samples=validation.samples[::every])


def resized(spec: Spec, factor: float) -> Spec:
    """The spec with photos shown larger by a factor."""
    if spec.long_side is not None:
        return replace(spec, long_side=round(spec.long_side * factor))
    return replace(spec, zoom=round(spec.zoom * factor, 3))


def size(spec: Spec) -> str:
    """The size of a spec in words."""
    return f"zoom {spec.zoom:g}" if spec.long_side is None else f"long side {spec.long_side}"
