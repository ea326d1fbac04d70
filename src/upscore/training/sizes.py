"""At which size the network is shown photos: chosen on the validation photos after training."""

from collections.abc import Callable
from dataclasses import replace

from upscore.data import Dataset
from upscore.evaluation.metrics import Counts, Scores, gain, pooled
from upscore.models import Spec

FACTORS = (0.75, 1.0, 1.25, 1.5)  # of the size that training was planned for
PIXELS = sum(factor**2 for factor in FACTORS)  # of all sizes, as a multiple of the planned one's
PHOTOS = 50  # that it is tried on: more cost time and hardly change what is best
WORTH = 0.002  # of mean IoU, that another size has to gain


def best_size(spec: Spec, planned: Counts, score: Callable[[Spec], Counts]) -> tuple[Spec, Scores]:
    """Return the spec at the planned size or one that is surely better, and its scores.

    `planned` are the counts at the spec's own size, and `score` counts at others, as for
    `metrics.gain`. What each size scored stands on the spec's card.
    """
    found = {f: planned if f == 1 else score(resized(spec, f)) for f in FACTORS}
    best = 1.0
    for factor in FACTORS:
        gained, chance = gain(found[factor], found[best])
        if gained > max(WORTH, chance):
            best = factor
    reached = {factor: pooled(counts) for factor, counts in found.items()}
    sizes = {in_words(resized(spec, f)): reached[f].mean_iou_of_true for f in FACTORS}
    chosen = resized(spec, best)
    return replace(chosen, card={**spec.card, "validation_at_sizes": sizes}), reached[best]


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
