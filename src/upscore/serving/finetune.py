"""The process that fine-tunes: `python -m upscore.serving.finetune DATA RUN MODEL time=10m`.

Trains on DATA from MODEL, for a time or `steps=300`, and writes RUN/comparison.json: the mean IoU
of both models on the photos that training held out. It writes none where none was held out.
"""

import sys
from pathlib import Path
from typing import Any

from upscore.evaluation import metrics
from upscore.evaluation.confusion import confusion_of
from upscore.evaluation.evaluate import matched
from upscore.inference.load import load
from upscore.inference.segmenter import Segmenter
from upscore.io.atomic import write_json
from upscore.training.train import train


def finetune(data: Path, run: Path, model: str, **length: Any) -> None:
    """Train on corrected photos from a model, and compare the two on those held out."""
    train(data, run, pretrained=model, log=(), **length)
    new = load(run)
    if not new.spec.card["held_out"]:
        return
    old = load(model)
    held_out, _ = matched(data, new.spec, "val", None, None, ())

    def score(segmenter: Segmenter) -> float:
        confusion, _ = confusion_of(segmenter, held_out, range(len(held_out)))
        return metrics.scores(confusion).mean_iou_of_true

    write_json(
        run / "comparison.json",
        {"photos": len(held_out), "before": score(old), "after": score(new)},
    )


def main(data: str, run: str, model: str, length: str) -> None:
    """Do what the command says."""
    kind, _, value = length.partition("=")
    finetune(Path(data), Path(run), model, **{kind: value if kind == "time" else int(value)})


if __name__ == "__main__":
    main(*sys.argv[1:])
