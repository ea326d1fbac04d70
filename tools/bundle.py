"""Make a training run the bundled model: half precision, scores on its card.

    python tools/bundle.py RUN DATA

The weights are the mean of those of the best validation and of the last step, which scores higher
than either (docs/results.md). Evaluates what is shipped, after rounding, and writes
`src/upscore/models/bundled`.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

import upscore
from upscore import models
from upscore.models.checkpoint import BUNDLED
from upscore.models.pretrained import PACKAGES

LONG_SIDE = 480  # pixels: photos for the network, as for the model bundled before

CARD = """# The bundled model

{architecture} on {encoder}, {parameters:,} parameters, classes {classes}.

## Data
Trained on {photos} photos of animals and people with PASCAL VOC masks; all other classes count as
background. The encoder started from the ImageNet weights of the package
{package} 0.1.0 (Apache-2.0). PASCAL VOC's photos come from Flickr under
various terms; none is part of this package. The weights are offered under the project's licence;
whether the photos' terms bear on your use of them is for you to judge.

## Recipe
`upscore train DATA -o RUN --recipe voc-animals`; the mean of the weights of its best validation,
after {epochs:.1f} passes over these photos, and of its last step; every choice stands in
`model.json`.

## Scores
`upscore evaluate DATA --split val`: {images} photos that were not trained on, labels at their own
size, photos resized to {long_side} pixels for the network, one pooled confusion matrix.

| class | IoU | boundary IoU |
|---|---|---|
{rows}

Mean IoU {mean_iou:.3f} (95 % interval over photos {low:.3f} to {high:.3f}), pixel accuracy
{pixel_accuracy:.3f}. The step and the mix of the two weights were chosen by the mean IoU on
these same photos, so expect a little less on others.

## Limits
Seven classes; everything else is background, other animals included, which are sometimes taken for
one of the five. Everyday photos of a few hundred pixels a side; not made for aerial, medical,
night-time or drawn pictures. Not for decisions about people.
"""


def main(run: str, data: str) -> None:
    network, spec = models.load(run)
    other, about = models.load(Path(run) / "last")
    if about.card["validation"] == spec.card["validation"]:
        raise SystemExit(f"{run}/best has the last weights: there is nothing to mix them with")
    last = other.state_dict()
    for name, weights in network.state_dict().items():
        if weights.is_floating_point():
            weights.lerp_(last[name], 0.5)
    card = {**spec.card, "weights": "mean of best and last"}
    card["best_validation"] = card.pop("validation")
    card.pop("validation_at_sizes", None)  # of the best alone
    spec = replace(spec, long_side=LONG_SIDE, zoom=1.0, card=card)
    models.save(BUNDLED, network, spec, dtype=torch.float16)
    result = upscore.evaluate(data, "bundled")
    numbers = result.to_dict()
    scores = {
        key: numbers[key] for key in ("mean_iou", "mean_iou_95", "pixel_accuracy", "mean_accuracy")
    }
    models.save(
        BUNDLED, network, replace(spec, card={**spec.card, "scores": scores}), dtype=torch.float16
    )
    (low, high) = result.interval
    table = zip(result.class_names, result.scores.iou, result.boundary_iou, strict=True)
    text = CARD.format(
        architecture=spec.architecture,
        encoder=spec.encoder,
        package=PACKAGES[spec.encoder].replace("_", "-"),
        parameters=sum(p.numel() for p in network.parameters()),
        classes=", ".join(spec.class_names),
        photos=spec.card["photos"],
        epochs=spec.card["best_validation"]["epoch"],
        long_side=spec.long_side,
        images=len(result.image_names),
        rows="\n".join(f"| {name} | {iou:.3f} | {boundary:.3f} |" for name, iou, boundary in table),
        mean_iou=result.scores.mean_iou,
        low=low,
        high=high,
        pixel_accuracy=result.scores.pixel_accuracy,
    )
    (BUNDLED / "CARD.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
