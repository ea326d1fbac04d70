"""One training run in a process of its own, for tests that kill it or run it several times over.

python training_worker.py DATA OUT STEPS [--resume] [--alone] [--save-every N] [--evaluate-every N]
"""

import argparse

import torch
from accelerate import Accelerator

from upscore import data
from upscore.training.recipe import Recipe
from upscore.training.train import fit

TINY = Recipe(
    encoder="test_efficientnet",
    width=8,
    pretrained=False,
    frozen_norm=False,
    batch_size=4,
    crop=64,
    scale=(0.8, 1.25),
    encoder_rate=3e-3,
    decoder_rate=1e-2,
    loss="ce",
    ema=0.9,
    precision="no",
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("steps", type=int)
    parser.add_argument("--frozen-from")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--alone", action="store_true", help="take the all-reduce out")
    parser.add_argument("--save-every", type=int, default=1)
    parser.add_argument("--evaluate-every", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.alone:
        Accelerator.reduce = lambda self, tensor, *_: tensor
    changes = {"steps": args.steps, "evaluate_every": args.evaluate_every}
    if args.frozen_from:
        changes |= {"pretrained": args.frozen_from, "frozen_norm": True}
    recipe = Recipe(**{**vars(TINY), **changes})
    training, validation = (data.find(args.data, split) for split in ("train", "val"))
    fit(
        recipe,
        data.survey(training),
        validation,
        args.out,
        resume=args.resume,
        workers=0,
        save_every=args.save_every,
    )


if __name__ == "__main__":
    main()
