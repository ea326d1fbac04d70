"""What validation selects after the last step: weights, how much rare classes count, and the size.

Each selection has a usual answer, and another one is taken if it scores higher by more than chance
may give: of several scores on few photos one is the highest by chance.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from upscore.data import Dataset
from upscore.evaluation.metrics import Counts, gain
from upscore.models import FCN, Spec, load
from upscore.training.run import Run
from upscore.training.sizes import best_size, in_words, spread

SHARES = (0.5, 1.0)  # of the class weights, that may be taken back
TAKEN_BACK = "weights_taken_back"  # on the card of a best/ that was selected

Score = Callable[[FCN, Spec, Dataset], Counts]  # as for `metrics.gain`


def select(
    run: Run,
    last: FCN,
    spec: Spec,
    validation: Dataset,
    class_weights: Tensor | None,
    score: Score,
    known: Mapping[str, Counts],
) -> None:
    """Select what goes into best/, and the size at which best/ and last/ are shown photos.

    `known` are counts of training's validations, of "best" and "last": a resumed run may lack them.
    """
    highest, about = load(run.folder / "best", next(last.parameters()).device)
    if TAKEN_BACK in about.card:  # a finished run, resumed
        run.last_kept = about.card["validation"] == run.history[-1]
        return
    best = last
    if not run.last_is_best:
        best = deepcopy(last)  # computes as the last ones do, to the bit
        best.load_state_dict(highest.state_dict())
        if not run.stopped_early:
            found = [
                known[name] if name in known else score(network, spec, validation)
                for name, network in (("best", best), ("last", last))
            ]
            best = best if _surely_better(*found) else last
            run.last_kept = best is last
    photos, share = spread(validation), 0.0
    reached = score(best, spec, photos)
    if class_weights is not None:
        best, share, reached = _taken_back(
            best, class_weights, reached, lambda network: score(network, spec, photos)
        )
    chosen, scores = best_size(spec, reached, lambda other: score(best, other, photos))
    run.save("last", last, chosen)
    run.save("best", best, replace(chosen, card={**chosen.card, TAKEN_BACK: share}))
    run.judge(scores, chosen.class_names, shown=in_words(chosen), taken_back=share)


def _surely_better(images: Counts, others: Counts) -> bool:
    gained, chance = gain(images, others)
    return gained > chance


def _taken_back(
    network: FCN, class_weights: Tensor, reached: Counts, score: Callable[[FCN], Counts]
) -> tuple[FCN, float, Counts]:
    """The network without a share of the class weights in its scores, that share, and its counts.

    Weights let rare classes be learned, but then too many pixels may be taken for them. Menon et
    al. 2021, "Long-tail learning via logit adjustment", after training.
    """
    best, taken = network, 0.0
    for share in SHARES:
        candidate = _shifted(network, class_weights, share)
        found = score(candidate)
        if _surely_better(found, reached):
            best, taken, reached = candidate, share, found
    return best, taken, reached


@torch.no_grad()
def _shifted(network: FCN, class_weights: Tensor, share: float) -> FCN:
    """A copy whose scores are lower by a share of the logarithms of the class weights."""
    shifted = deepcopy(network)
    layer = "score" if network.context is None else "classify"
    shifted.get_parameter(f"{layer}_{network.stride}.bias").sub_(share * class_weights.log())
    return shifted
