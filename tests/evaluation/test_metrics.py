import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    jaccard_score,
)

from upscore.evaluation import metrics

CLASSES = 5


def maps(seed: int, shape: tuple[int, ...], *, void: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels, target = rng.integers(0, CLASSES, (2, *shape)).astype(np.uint8)
    target = np.where(rng.random(shape) < 0.6, labels, target)
    return labels, np.where(rng.random(shape) < void, 255, target).astype(np.uint8)


@given(st.integers(0, 10_000), st.sampled_from([(1, 1), (1, 7), (33, 51), (4, 3, 5)]))
def test_confusion_is_that_of_scikit_learn(seed, shape):
    labels, target = maps(seed, shape)
    matrix = metrics.confusion(labels, target, CLASSES)
    valid = target != 255
    assert matrix.dtype == np.int64
    assert matrix.sum() == valid.sum()
    if valid.any():
        expected = confusion_matrix(target[valid], labels[valid], labels=range(CLASSES))
        np.testing.assert_array_equal(matrix, expected)


def test_scores_are_those_of_scikit_learn():
    labels, target = maps(0, (40, 60))
    valid = target != 255
    true, predicted = target[valid], labels[valid]
    scores = metrics.scores(metrics.confusion(labels, target, CLASSES))
    assert scores.pixel_accuracy == pytest.approx(accuracy_score(true, predicted))
    assert scores.mean_accuracy == pytest.approx(balanced_accuracy_score(true, predicted))
    assert scores.mean_iou == pytest.approx(jaccard_score(true, predicted, average="macro"))
    weighted = jaccard_score(true, predicted, average="weighted")
    assert scores.frequency_weighted_iou == pytest.approx(weighted)
    np.testing.assert_allclose(scores.iou, jaccard_score(true, predicted, average=None))
    np.testing.assert_array_equal(scores.true_pixels, np.bincount(true, minlength=CLASSES))


def test_an_absent_class_is_left_out_and_an_invented_one_is_not():
    scores = metrics.scores([[2, 0, 2], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(scores.iou, [0.5, np.nan, 0.0])
    np.testing.assert_array_equal(scores.accuracy, [0.5, np.nan, np.nan])
    assert scores.mean_iou == 0.25
    assert scores.mean_iou_of_true == 0.5
    assert scores.mean_accuracy == 0.5
    assert scores.to_dict()["iou"] == [0.5, None, 0.0]


def test_nothing_counted_gives_nan_without_a_warning():
    scores = metrics.scores(metrics.confusion([[0, 1]], [[255, 255]], 2))
    assert np.isnan([scores.pixel_accuracy, scores.mean_iou, scores.mean_accuracy]).all()


@pytest.mark.parametrize(
    ("labels", "target", "error", "message"),
    [
        ([0, 1], [[0, 1]], ValueError, r"shape \(2,\) but target \(1, 2\)"),
        ([0, 2], [0, 1], ValueError, "labels holds ids from 0 to 2, but 2 classes"),
        ([0, 1], [0, 3], ValueError, "target holds ids from 0 to 3"),
        ([-1, 1], [0, 1], ValueError, "ids from -1"),
        ([0.0, 1.0], [0, 1], TypeError, "float64"),
    ],
)
def test_bad_maps_are_refused(labels, target, error, message):
    with pytest.raises(error, match=message):
        metrics.confusion(labels, target, 2)


def test_a_matrix_that_is_not_square_is_refused():
    with pytest.raises(ValueError, match=r"C x C.*\(2, 3\)"):
        metrics.scores(np.ones((2, 3)))


def boundary_of_cheng(mask: np.ndarray, reach: int) -> np.ndarray:
    """`mask_to_boundary` of the authors' code: erode `reach` times by 3 x 3, zeros outside."""
    return mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=reach)


def blocks(seed: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    labels, target = maps(seed, (shape[0] // 12 + 1, shape[1] // 12 + 1))
    grow = np.ones((12, 12), np.uint8)
    target = np.kron(target, grow)[: shape[0], : shape[1]]
    return np.roll(np.kron(labels, grow)[: shape[0], : shape[1]], 2, axis=1), target


@pytest.mark.parametrize("shape", [(60, 90), (150, 201), (1, 1), (1, 7), (120, 120)])
def test_boundary_counts_are_those_of_the_paper(shape):
    labels, target = blocks(shape[1], shape)
    void = target == 255
    reach = max(1, round(0.02 * np.hypot(*shape)))
    counts = metrics.boundary_counts(labels, target, CLASSES)
    for c in range(CLASSES):
        true = boundary_of_cheng(target == c, reach)
        predicted = boundary_of_cheng((labels == c) & ~void, reach)
        assert counts[c].tolist() == [(true & predicted).sum(), (true | predicted).sum()]


def test_boundary_iou_sees_what_iou_does_not():
    target = np.zeros((200, 200), np.uint8)
    target[20:180, 20:180] = 1
    labels = np.zeros_like(target)
    labels[24:184, 20:180] = 1
    iou = metrics.scores(metrics.confusion(labels, target, 2)).iou[1]
    both, either = metrics.boundary_counts(labels, target, 2)[1]
    assert both / either < 0.7 < 0.9 < iou


def test_bootstrap_brackets_the_score_and_repeats():
    rng = np.random.default_rng(0)
    true = rng.integers(50, 100, (60, 3))
    images = np.stack([rng.integers(25, 50, (60, 3)), true, true], axis=-1)
    hits, total = images[..., 0].sum(0), true.sum(0)
    score = float((hits / (2 * total - hits)).mean())
    low, high = metrics.bootstrap(images)
    assert score - 0.05 < low < score < high < score + 0.05
    assert metrics.bootstrap(images) == (low, high)
    assert metrics.bootstrap(images, seed=1) != (low, high)
    wide_low, wide_high = metrics.bootstrap(images[:6])
    assert wide_high - wide_low > high - low


def test_one_image_tells_nothing_of_others():
    assert np.isnan(metrics.bootstrap([[[4, 4, 4], [6, 6, 6]]])).all()


def test_bootstrap_of_nothing_is_refused():
    with pytest.raises(ValueError, match="none of 2 images"):
        metrics.bootstrap(np.zeros((2, 3, 3), int))


def counts_of(iou, pixels=10_000):
    """Counts of N images of one class, with these IoU."""
    hits = np.round(np.asarray(iou) * pixels).astype(int)
    return np.stack([hits, np.full_like(hits, pixels), hits], axis=-1)[:, None]


def test_gain_by_hand():
    gained, chance = metrics.gain(counts_of([0.5, 0.7, 0.9]), counts_of([0.4, 0.5, 0.6]))
    # Without each image: 0.8 - 0.55, 0.7 - 0.5, 0.6 - 0.45. Student's t of two degrees of freedom.
    assert gained == pytest.approx(0.2)
    assert chance == pytest.approx(4.302653 * np.sqrt(2 / 3 * 2 * 0.05**2))


def test_a_gain_by_chance_is_seldom_more_than_chance_may_give():
    rng, found = np.random.default_rng(0), []
    for _ in range(1000):
        both = rng.uniform(0.4, 0.8, 8)  # images differ more than models do
        gained, chance = metrics.gain(
            *(counts_of(both + rng.normal(0, 0.02, 8), 10**6) for _ in (0, 1))
        )
        found.append(gained > chance)
    assert 0.01 < np.mean(found) < 0.04  # 2.5 %: losses do not count


def test_one_image_shows_no_gain():
    assert metrics.gain(counts_of([0.9]), counts_of([0.1])) == (pytest.approx(0.8), np.inf)
    void = np.zeros((3, 1, 3), int)
    better, worse = (np.concatenate([counts_of([iou]), void]) for iou in (0.9, 0.1))
    assert metrics.gain(better, worse) == (pytest.approx(0.8), np.inf)


def test_a_gain_counts_classes_that_the_truth_holds():
    better = [[[4, 4, 4], [0, 0, 1]]] * 2  # a stray pixel of a class that is not there
    assert metrics.gain(better, [[[2, 4, 2], [0, 0, 0]]] * 2) == (0.5, 0.0)
