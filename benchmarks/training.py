"""Training in a few minutes on a few photos: upscore's defaults against what people use today.

    python benchmarks/training.py [--budgets 2 5 15] [--sets membrane cracks camvid20 voc200]
        [--contenders upscore smp-unet smp-deeplabv3plus nnunet] [--only TEXT] [--kept]
        [--seed N] [--data DIR] [--work DIR] [--json PATH] [--write docs/results.md]

Every contender sees the same files (`_training_sets.py`), gets the same wall-clock time from the
start of its process to its saved weights on the same cores, one after the other, then labels the
test photos at their own size, which is not on the clock. All label maps are PNG files that the same
code scores (`_training_scores.py`).

- upscore: `upscore train DATA -o RUN --time Nm`, with no other option; then `upscore.Predictor`.
- smp-unet, smp-deeplabv3plus: segmentation_models_pytorch with the same encoder and ImageNet
  weights and a recipe that an expert would write (`_training_smp.py` has it in words).
- nnunet: nnU-Net v2, 2-D, in an environment of its own (`_training_nnunet.py`). It starts from
  random weights and with patches and batches made for a GPU of 8 GB: on two cores the time is
  enough for a few steps, which the table shows.

Sets: membranes in electron microscopy (20 photos to train on, 4 to validate, 6 to test), cracks in
concrete (79, 39), the first 20 photos of CamVid (its val, 101), the first 200 of PASCAL VOC's
animals and persons, seven classes (300). Where there are no photos to validate on, each contender
takes them from the training photos as it sees fit.

Every run's figures are kept in the work folder, so that an interrupted benchmark goes on where it
stopped; delete a run's folder to run it again. `--json PATH` also adds them to a file, and the
tables show all that it holds: the whole benchmark takes hours, and may be run in parts. Needs
`pip install "upscore[bench]"` and, for nnU-Net's environment, uv; and a machine that does nothing
else.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

import _training_nnunet as nnunet
from _timing import show, write
from _training_scores import Interval, score
from _training_sets import SETS, build, photos
from upscore import Predictor

ROOT = Path(__file__).parents[1]
SMP = str(Path(__file__).with_name("_training_smp.py"))
BEGIN, END = "<!-- training:begin -->", "<!-- training:end -->"
SCORES = ("mIoU", "foreground IoU", "boundary IoU")


@dataclass(frozen=True)
class Case:
    """One run: a contender on a set, with so many minutes and a seed."""

    work: Path
    set: str
    minutes: float
    contender: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.set}, {self.minutes:g} min, {self.contender}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        return self.work / "runs" / self.name.replace(", ", "/").replace(" ", "-")

    @property
    def result(self) -> Path:
        return self.folder / "result.json"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def data(self) -> Path:
        return self.work / "sets" / self.set

    @property
    def run(self) -> Path:
        """The folder of the contender's own files."""
        return self.folder / "run"

    @property
    def labels(self) -> Path:
        return self.folder / "labels"


def call(case: Case, command: list[str], env: Mapping[str, str] | None = None) -> None:
    """Run a command, its output in the case's log.txt."""
    with case.log.open("ab") as log:
        subprocess.run(command, env=env, stdout=log, stderr=log, check=True)


def timed(case: Case, command: list[str], env: Mapping[str, str] | None = None) -> float:
    """Run the command that is on the clock; the seconds it took."""
    started = time.time()
    budget = {"UPSCORE_STARTED": str(started), "UPSCORE_SECONDS": str(60 * case.minutes)}
    call(case, command, dict(os.environ if env is None else env) | budget)
    return time.time() - started


def run_upscore(case: Case) -> dict[str, Any]:
    upscore = str(Path(sys.executable).with_name("upscore"))
    command = [upscore, "train", str(case.data), "-o", str(case.run)]
    seed = ["--set", f"seed={case.seed}"] if case.seed else []
    seconds = timed(case, [*command, "--time", f"{case.minutes:g}m", *seed])
    predictor = Predictor(case.run)
    case.labels.mkdir()
    for name, path in photos(case.data, "test").items():
        Image.fromarray(predictor(path).labels).save(case.labels / f"{name}.png")
    return {"seconds": seconds, "steps": last_step(case.run / "metrics.csv")}


def last_step(table: Path) -> int:
    """The step of the last line of a run's metrics.csv."""
    header, *rows = (line.split(",") for line in table.read_text().splitlines())
    return int(rows[-1][header.index("step")])


def run_smp(case: Case, network: str) -> dict[str, Any]:
    begin = [sys.executable, SMP]
    places = [network, str(case.data), str(case.run)]
    seconds = timed(case, [*begin, "train", *places, "--seed", str(case.seed)])
    call(case, [*begin, "predict", *places, str(case.labels)])
    return {"seconds": seconds, **json.loads((case.run / "facts.json").read_text())}


def run_nnunet(case: Case) -> dict[str, Any]:
    nnunet.prepare(case.work, case.data, case.log)
    seconds = timed(case, *nnunet.training(case.work, case.data, case.run))
    call(case, *nnunet.prediction(case.work, case.data, case.run, case.labels))
    return {"seconds": seconds, **nnunet.facts(case.run)}


CONTENDERS: dict[str, Callable[[Case], dict[str, Any]]] = {
    "upscore": run_upscore,
    "smp-unet": lambda case: run_smp(case, "Unet"),
    "smp-deeplabv3plus": lambda case: run_smp(case, "DeepLabV3Plus"),
    "nnunet": run_nnunet,
}


def result_of(case: Case, data: Path) -> dict[str, Any] | None:
    """The figures of a case, from its file or by running it; None where it failed."""
    if case.result.exists():
        found: dict[str, Any] = json.loads(case.result.read_text())
        return found
    build(case.set, data, case.data)
    shutil.rmtree(case.folder, ignore_errors=True)
    case.folder.mkdir(parents=True)
    print(case.name, end=" ... ", flush=True)
    try:
        facts = CONTENDERS[case.contender](case)
    except subprocess.CalledProcessError as error:
        print(f"failed with status {error.returncode}: see {case.log}")
        return None
    scores = score(case.labels, case.data, background=SETS[case.set].background)
    print(f"{facts['seconds']:.0f} s, mIoU {scores['mIoU'][0]:.3f}")
    result = {"set": case.set, "minutes": case.minutes, "contender": case.contender}
    result |= {"seed": case.seed, "photos": len(photos(case.data, "test")), **scores, **facts}
    write(case.result, **result)
    return json.loads(case.result.read_text())


def added(path: Path, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All figures of a file, with these added in place of older ones of the same cases."""
    earlier = json.loads(path.read_text())["training"] if path.exists() else []
    sets, contenders = list(SETS), list(CONTENDERS)

    def place(one: dict[str, Any]) -> tuple[float, ...]:
        of_set, of_contender = sets.index(one["set"]), contenders.index(one["contender"])
        return one["seed"], of_set, one["minutes"], of_contender

    found = {place(one): one for one in (*earlier, *results)}
    ordered = [found[case] for case in sorted(found)]
    write(path, training=ordered)
    return ordered


def cell(interval: Interval | None) -> str:
    """A score with its 95 % interval."""
    if interval is None:
        return "–"
    value, low, high = interval
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def row(result: Mapping[str, Any]) -> dict[str, str]:
    return {
        "minutes": f"{result['minutes']:g}",
        "contender": result["contender"],
        **{name: cell(result[name]) for name in SCORES},
        "steps": str(result["steps"]),
        "seconds": f"{result['seconds']:.0f}",
    }


def tables(results: list[dict[str, Any]]) -> dict[str, list[dict[str, str]]]:
    """The rows of each set, by their title."""
    found: dict[str, list[dict[str, str]]] = {}
    for result in results:
        title = f"{result['set']}, {result['photos']} test photos, seed {result['seed']}"
        found.setdefault(title, []).append(row(result))
    return found


def markdown(rows: list[dict[str, str]]) -> str:
    """A table of Markdown."""
    lines = [tuple(rows[0]), ("---",) * len(rows[0]), *(tuple(each.values()) for each in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_between(path: Path, text: str) -> None:
    """Put a text between the two markers of a page."""
    page = path.read_text()
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise SystemExit(f"{path}: expected one line {BEGIN} and, below it, one line {END}")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    several = {"nargs": "+", "metavar": "NAME"}
    parser.add_argument("--budgets", type=float, nargs="+", default=[2, 5, 15], help="minutes")
    parser.add_argument("--sets", choices=SETS, default=list(SETS), **several)
    parser.add_argument("--contenders", choices=CONTENDERS, default=list(CONTENDERS), **several)
    parser.add_argument("--only", default="", help="run the cases whose name contains this text")
    parser.add_argument("--kept", action="store_true", help="run nothing: show what was run before")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "training-benchmark")
    parser.add_argument("--json", type=Path, help="add the figures to this file; show all of it")
    parser.add_argument("--write", type=Path, help="put the tables into this page")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    cases = [
        Case(options.work.resolve(), name, minutes, contender, options.seed)
        for name in options.sets
        for minutes in options.budgets
        for contender in options.contenders
    ]
    wanted = [case for case in cases if options.only in case.name]
    if options.kept:
        wanted = [case for case in wanted if case.result.exists()]
    if not wanted:
        raise SystemExit("no such case; they are\n" + "\n".join(case.name for case in cases))
    results = [result for case in wanted if (result := result_of(case, options.data))]
    if not results:
        raise SystemExit("no case came to an end")
    failed = len(wanted) - len(results)
    if options.json:
        results = added(options.json, results)
    shown = tables(results)
    for title, rows in shown.items():
        show(title, rows)
    if options.write:
        text = "\n\n".join(f"**{title}**\n\n{markdown(rows)}" for title, rows in shown.items())
        write_between(options.write, text)
    if failed:
        raise SystemExit(f"{failed} of {len(wanted)} cases failed")


if __name__ == "__main__":
    main()
