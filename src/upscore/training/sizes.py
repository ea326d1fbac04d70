"""At which size the network is shown photos: chosen on the validation photos after training."""

from collections.abc import Callable
from dataclasses import replace

from upscore.data import Dataset
from upscore.evaluation.metrics import Scores
from upscore.models import Spec

FACTORS = (0.75, 1.0, 1.25, 1.5)  # of the size that training was planned for
PIXELS = sum(factor**2 for factor in FACTORS)  # of all sizes, as a multiple of the planned one's
PHOTOS = 50  # that it is tried on: more cost time and hardly change what is best
SURE = 20  # photos: with fewer, chance decides more


def best_size(spec: Spec, score: Callable[[Spec], Scores], photos: int) -> tuple[Spec, Scores]:
    """Return the spec at the size that scores best, and those scores.

    What each size scored stands on the spec's card. `score` scores the model at a spec's size, on
    so many photos. Another size than the planned one has to gain more than chance may.
    """
    found = {factor: score(resized(spec, factor)) for factor in FACTORS}
    reached = {factor: scores.mean_iou_of_true for factor, scores in found.items()}
    worth = 0.002 if photos >= SURE else 0.01
    best = 1.0
    for factor in FACTORS:
        if reached[factor] > reached[best] + worth:
            best = factor
    sizes = {in_words(resized(spec, factor)): value for factor, value in reached.items()}
    chosen = resized(spec, best)
    return replace(chosen, card={**spec.card, "validation_at_sizes": sizes}), found[best]


def spread(validation: Dataset, most: int = PHOTOS) -> Dataset:
    """So many of the validation photos, or all if they are fewer, spread evenly over them."""
    photos, count = validation.samples, min(most, len(validation))
    return replace(
        validation, samples=tuple(photos[i * len(photos) // count] for i in range(count))
    )


def resized(spec: Spec, factor: float) -> Spec:
    """The spec with photos shown larger by a factor."""
    if spec.long_side is not None:
        return replace(spec, long_side=round(spec.long_side * factor))
    return replace(spec, zoom=round(spec.zoom * factor, 3))


def in_words(spec: Spec) -> str:
    """The size of a spec in words."""
    return f"zoom {spec.zoom:g}" if spec.long_side is None else f"long side {spec.long_side}"
