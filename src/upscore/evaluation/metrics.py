"""Segmentation scores, all of them from counts that are pooled over a data set.

Rows of a confusion matrix are the truth, columns the prediction. Counts are int64 and add up over
images and processes in any order; scores are made of the sums, never averaged over images.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upscore.errors import ArgumentError, ArgumentTypeError

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

VOID = 255


@dataclass(frozen=True)
class Scores:
    """What follows from a confusion matrix; NaN where nothing was counted.

    `mean_iou` and `mean_accuracy` average over the classes that are not NaN: a class in neither
    truth nor prediction has no IoU, one without any truth no accuracy. A class that is predicted
    but never true has IoU 0 and does count.

    Attributes:
        pixel_accuracy: the share of all pixels that are right, 0 to 1.
        mean_accuracy: the mean of `accuracy`.
        mean_iou: the mean of `iou`.
        frequency_weighted_iou: the mean of `iou`, each class weighted by its true pixels.
        iou: float64, C: intersection over union of each class.
        accuracy: float64, C: the share of each class's true pixels that are right.
        true_pixels: int64, C: pixels of each class in the truth.
        predicted_pixels: int64, C: pixels of each class in the prediction.
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    frequency_weighted_iou: float
    iou: Floats
    accuracy: Floats
    true_pixels: Counts
    predicted_pixels: Counts

    @property
    def mean_iou_of_true(self) -> float:
        """The mean IoU over the classes that the truth holds, 0 to 1.

        It compares two models on few images, which may hold no pixel of some classes: `mean_iou`
        falls by whole classes for single stray pixels there.
        """
        return nan_mean(self.iou[self.true_pixels > 0])

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain JSON values.

        Returns:
            Each score by its name, lists for arrays, None for NaN.
        """
        return {key: plain(value) for key, value in asdict(self).items()}


def confusion(
    labels: ArrayLike, target: ArrayLike, classes: int, ignore_index: int = VOID
) -> Counts:
    """Count pixels by true and predicted class.

    Equivalent: `sklearn.metrics.confusion_matrix(target[valid], labels[valid], labels=range(C))`
    with `valid = target != ignore_index`.

    Args:
        labels: predicted class ids, integers of any shape.
        target: true class ids of the same shape, 0..classes-1 or `ignore_index`.
        classes: C.

    Returns:
        int64 array of C x C, rows the truth.

    Raises:
        ValueError: shapes differ, or an id is out of range.

    Example:
        >>> from upscore.evaluation.metrics import confusion
        >>> confusion([0, 1, 1, 1], [0, 0, 1, 255], 2)
        array([[1, 1],
               [0, 1]])
    """
    predicted, true = _checked(labels, target)
    valid = true != ignore_index
    predicted, true = predicted[valid], true[valid]
    for name, ids in (("labels", predicted), ("target", true)):
        if ids.size and not (ids.min() >= 0 and ids.max() < classes):
            raise ArgumentError(
                f"{name} holds ids from {ids.min()} to {ids.max()}, but {classes} classes have "
                f"ids 0 to {classes - 1} (and {ignore_index} is ignored in target)"
            )
    pairs = np.bincount(true * classes + predicted, minlength=classes * classes)
    return pairs.reshape(classes, classes)


def scores(confusion: ArrayLike) -> Scores:
    """The scores of Long, Shelhamer and Darrell (2015, section 5) from a confusion matrix.

    Pixel accuracy is `trace / sum`, IoU `diagonal / (rows + columns - diagonal)`, and
    frequency-weighted IoU weights each class by its share of the true pixels.

    Example:
        >>> from upscore.evaluation.metrics import scores
        >>> scores([[3, 1], [0, 4]]).mean_iou
        0.775
    """
    matrix = np.asarray(confusion)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ArgumentError(f"a confusion matrix is C x C, but this has shape {matrix.shape}")
    return pooled(np.stack([np.diagonal(matrix), matrix.sum(1), matrix.sum(0)], axis=1)[None])


def pooled(images: ArrayLike) -> Scores:
    """The scores of a set, from the counts of its images: those of the sum of their matrices.

    Args:
        images: integer array of N x C x 3: hits, true pixels and predicted pixels of each image.

    Example:
        >>> from upscore.evaluation.metrics import pooled
        >>> pooled([[[3, 4, 3], [0, 0, 1]], [[0, 0, 0], [4, 4, 4]]]).mean_iou
        0.775
    """
    hits, true, predicted = np.asarray(images).sum(axis=0).T
    iou = ratio(hits, true + predicted - hits)
    accuracy = ratio(hits, true)
    return Scores(
        pixel_accuracy=float(ratio(hits.sum(), true.sum())),
        mean_accuracy=nan_mean(accuracy),
        mean_iou=nan_mean(iou),
        frequency_weighted_iou=float(ratio(np.nansum(true * iou), true.sum())),
        iou=iou,
        accuracy=accuracy,
        true_pixels=true,
        predicted_pixels=predicted,
    )


def commonest_iou(true_pixels: ArrayLike) -> float:
    """The mean IoU of naming the commonest class everywhere: what any model has to beat.

    >>> from upscore.evaluation.metrics import commonest_iou
    >>> commonest_iou([6, 4])
    0.3
    """
    true = np.asarray(true_pixels)
    matrix = np.zeros((len(true), len(true)), np.int64)
    matrix[:, true.argmax()] = true
    return scores(matrix).mean_iou


def boundary_counts(
    labels: ArrayLike,
    target: ArrayLike,
    classes: int,
    ignore_index: int = VOID,
    *,
    dilation_ratio: float = 0.02,
) -> Counts:
    """Pixels near contours in both maps, and in either, for each class.

    Boundary IoU (Cheng et al., "Boundary IoU", CVPR 2021) is `counts[:, 0] / counts[:, 1]` of the
    counts summed over a set. A class's boundary is what an erosion by d pixels (a square of side
    2d + 1) takes away, d = `dilation_ratio` times the image's diagonal, at least 1; the image's
    edge is a contour too, as in the authors' code. Void pixels belong to no class in either map.

    Returns:
        int64 array of C x 2: intersection and union.

    Example:
        >>> import numpy as np
        >>> from upscore.evaluation.metrics import boundary_counts
        >>> square = np.zeros((5, 5), np.uint8)
        >>> square[1:4, 1:4] = 1
        >>> boundary_counts(square, square, 2).tolist()  # all but the very middle
        [[16, 16], [8, 8]]
    """
    predicted, true = _checked(labels, target)
    if true.ndim != 2:
        raise ArgumentError(f"contours need maps of H x W, but these have shape {true.shape}")
    void = true == ignore_index
    radius = max(1, round(dilation_ratio * float(np.hypot(*true.shape))))
    near = [
        np.where(_near_contour(ids, radius) & ~void, ids, -1)
        for ids in (true, np.where(void, ignore_index, predicted))
    ]
    agreed = near[0][near[0] == near[1]]
    both, one, other = (
        np.bincount(ids[ids >= 0], minlength=classes) for ids in (agreed, near[0], near[1])
    )
    return np.stack([both, one + other - both], axis=1)


def bootstrap(images: ArrayLike, *, samples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean IoU if other images of the same kind had been drawn.

    NaN for a single image, which tells nothing of others.

    Images are drawn with replacement `samples` times (Efron's percentile bootstrap); each time the
    counts of the drawn images are pooled and the mean IoU taken.

    Args:
        images: integer array of N x C x 3: hits, true pixels and predicted pixels of each image.

    Example:
        >>> from upscore.evaluation.metrics import bootstrap
        >>> bootstrap([[[4, 4, 4], [6, 6, 6]]] * 2)
        (1.0, 1.0)
    """
    counts = np.asarray(images, np.float64)  # exact below 2^53, and a fast product
    n = len(counts)
    if not n or not counts[..., 1].any():
        raise ArgumentError(f"none of {n} images holds a pixel that counts: nothing to resample")
    if n < 2:
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=samples)
    hits, true, predicted = np.moveaxis(np.tensordot(draws, counts, axes=1), -1, 0)
    iou = ratio(hits, true + predicted - hits)
    means = ratio(np.nansum(iou, axis=1), (~np.isnan(iou)).sum(axis=1))
    low, high = np.nanpercentile(means, (2.5, 97.5))
    return float(low), float(high)


def gain(images: ArrayLike, others: ArrayLike) -> tuple[float, float]:
    """By how much one model's mean IoU is above another's, and how much of it chance may give.

    The second number is half the 95 % interval of the gain, by Student's t and the standard error
    that leaving out one image after the other gives (the jackknife; Tukey 1958): one model that is
    no better gains more in one of forty sets of images. Infinite where a single image holds truth.
    Images that are alike, such as frames of one video, make it too small. Mean IoU is over the
    classes that the truth holds.

    Args:
        images: integer array of N x C x 3: hits, true pixels and predicted pixels of each image.
        others: the same of the other model, on the same images.

    Example:
        >>> from upscore.evaluation.metrics import gain
        >>> found = [[[4, 4, 4], [6, 6, 6]]] * 2
        >>> gain(found, found)
        (0.0, 0.0)
    """
    from scipy.special import stdtrit  # the quantiles of Student's t

    pair = np.stack([np.asarray(images), np.asarray(others)])
    pair = pair[:, pair[0, ..., 1].any(axis=1)]  # void images tell nothing
    n = pair.shape[1]

    def gained(among: NDArray[np.bool_]) -> float:
        better, worse = (pooled(counts[among]).mean_iou_of_true for counts in pair)
        return better - worse

    if n < 2:
        return gained(np.ones(n, bool)), float("inf")
    without = np.array([gained(np.arange(n) != i) for i in range(n)])
    error = np.sqrt((n - 1) / n * np.square(without - without.mean()).sum())
    return gained(np.ones(n, bool)), float(stdtrit(n - 1, 0.975) * error)


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Elementwise quotient, NaN where the denominator is 0."""
    below = np.asarray(denominator, np.float64)
    quotient = np.full(below.shape, np.nan)
    np.divide(numerator, below, out=quotient, where=below != 0)
    return quotient


def nan_mean(values: Floats) -> float:
    """The mean of what is not NaN; NaN, without a warning, where nothing is left."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _near_contour(ids: Counts, radius: int) -> NDArray[np.bool_]:
    """Pixels with another id, or the outside, within `radius` rows and columns.

    One pass serves every class: a window holds another id exactly if its extremes differ.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    window = {"size": 2 * radius + 1, "mode": "constant", "cval": -1}
    small = ids.astype(np.int16)
    return np.asarray(maximum_filter(small, **window) != minimum_filter(small, **window))


def _checked(labels: ArrayLike, target: ArrayLike) -> tuple[Counts, Counts]:
    """Both maps as int64 arrays of one shape."""
    ids = np.asarray(labels), np.asarray(target)
    for name, array in zip(("labels", "target"), ids, strict=True):
        if array.dtype.kind not in "iu":
            raise ArgumentTypeError(f"{name} must hold integer class ids, not {array.dtype}")
    if ids[0].shape != ids[1].shape:
        raise ArgumentError(
            f"labels have shape {ids[0].shape} but target {ids[1].shape}; "
            "bring the labels to the mask's size first: upscore.argmax(scores, size=(H, W))"
        )
    return ids[0].astype(np.int64), ids[1].astype(np.int64)


def plain(value: Any) -> Any:
    """An array or number as JSON knows it: lists, and None for NaN."""
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    return None if value != value else value
