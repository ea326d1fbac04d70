"""The folder of a training run: its state, its checkpoints and what a person looks at.

plan.json         the choices, fixed for the run, and the reasons for them
state/            everything that a killed run needs to go on
best/ last/       checkpoints of the averaged weights
metrics.csv  curves.png  validation.jpg
"""

import csv
import json
import math
import shutil
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from upscore.data import Dataset
from upscore.errors import RunError
from upscore.evaluation import metrics
from upscore.evaluation.metrics import Scores
from upscore.io.atomic import replacing, write_json
from upscore.models import FCN, Spec, save
from upscore.models.weights import read_tensors, write_tensors
from upscore.training.reading import Reading
from upscore.training.recipe import Recipe

RECENT = 10  # steps whose mean loss the progress bar shows, and how often it changes
NOTHING_LEARNED = 0.01  # of mean IoU above what the commonest class alone gives
LINE_EVERY = 50  # steps between two lines in a log


class Run:
    """State and records of one run; all processes keep them, the main one writes."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        data: Dataset,
        about: Mapping[str, Any] | None = None,
        *,
        main: bool,
    ) -> None:
        self.folder, self.main, self.about = folder, main, dict(about or {})
        self._photos_a_step = recipe.batch_size / len(data)
        identity = {"recipe": asdict(recipe), "photos": [sample.name for sample in data.samples]}
        self.identity = json.loads(json.dumps(identity))  # as it comes back from a file
        self._begun = _state(folder).is_file()
        self.history: list[dict[str, float]] = []
        self.last_kept = False  # in best/, though earlier weights scored more
        self._loss: Tensor | float = 0.0  # the sum of the losses since the last validation ...
        self._losses = 0  # ... and how many they are
        self._recent: deque[Tensor] = deque(maxlen=RECENT)

    @property
    def best(self) -> float:
        """The mIoU that the weights in best/ had in validation, NaN before the first one."""
        return self._best.get("mean_iou", float("nan"))

    @property
    def _best(self) -> dict[str, float]:
        """The row of the weights in best/; empty before the first validation."""
        if self.last_kept:
            return self.history[-1]
        return max(reversed(self._scored), key=lambda row: row["mean_iou"], default={})

    @property
    def _scored(self) -> list[dict[str, float]]:
        """The rows of validations; a run without validation photos has none."""
        return [row for row in self.history if "mean_iou" in row]

    @property
    def last_is_best(self) -> bool:
        """Whether the last weights are those of best/."""
        return not self._best or self._best is self.history[-1]

    @property
    def stopped_early(self) -> bool:
        """Whether it ended by its patience, before the rates had fallen to zero."""
        return bool(self.history[-1]["step"] < self.identity["recipe"]["steps"])

    def stale(self, patience: int) -> bool:
        """Whether the last `patience` validations brought nothing better; never with 0."""
        found = [row["mean_iou"] for row in self._scored]
        return 0 < patience <= len(found) - 1 - found.index(self.best) if found else False

    @staticmethod
    def begun_with(folder: Path) -> tuple[Recipe, Reading]:
        """The recipe of the run in a folder, and how its photos were found and divided."""
        path = folder / "plan.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            names = {field.name for field in fields(Recipe)}
            known = {k: v for k, v in values["recipe"].items() if k in names}
            known = {k: tuple(v) if isinstance(v, list) else v for k, v in known.items()}
            return Recipe(**known), Reading.of(values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path} is not the plan of a run: {error}") from error

    def start(
        self,
        network: nn.Module,
        average: nn.Module,
        optimizer: Any,
        scaler: Any = None,
        *,
        resume: bool,
    ) -> int:
        """The step to begin with: 0, or where the saved state of the same run left off.

        All processes must have made their `Run` before the main one starts and writes.
        """
        if self._begun:
            require_new(self.folder, resume)
            return self._load_state(network, average, optimizer, scaler)
        if self.main:
            self._prepare(network)
            self.save_state(0, network, average, optimizer, scaler)
        return 0

    def _prepare(self, network: nn.Module) -> None:
        """Fail now, not after the first epoch: can we write here, and is there room?"""
        weights = sum(t.numel() * t.element_size() for t in network.state_dict().values())
        # Two states (each the weights, their averages and two moments) and two checkpoints, twice.
        need = 12 * weights + (64 << 20)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / "plan.json", {"recipe": self.identity["recipe"]} | self.about)
        except OSError as error:
            raise RunError(f"cannot write into {self.folder}: {error}") from error
        free = shutil.disk_usage(self.folder).free
        if free < need:
            raise RunError(
                f"{self.folder} has {free >> 20} MiB free, and this run needs about "
                f"{need >> 20} MiB: make room or choose another folder"
            )

    def save_state(
        self, step: int, network: nn.Module, average: nn.Module, optimizer: Any, scaler: Any = None
    ) -> None:
        """Keep all that a run killed from now on needs to end as if it had not been."""
        if not self.main:
            return
        tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
        for i, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in moments.items()}
        description = {
            **self.identity,
            "step": step,
            "history": self.history,
            "losses": [float(self._loss), self._losses],
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        write_tensors(self.folder / "state", "state", tensors, description)

    def _load_state(
        self, network: nn.Module, average: nn.Module, optimizer: Any, scaler: Any
    ) -> int:
        description, tensors = read_tensors(self.folder / "state", "state")
        # A run of an earlier version lacks newer choices; it went by what are their defaults now.
        defaults = json.loads(json.dumps(asdict(Recipe())))
        description["recipe"] = defaults | description.get("recipe", {})
        for key, value in self.identity.items():
            if description.get(key) != value:
                raise RunError(
                    f"{self.folder} was started with {_difference(description.get(key), value)}: "
                    "resume with the same recipe and data, or choose another folder"
                )
        if self.main:
            for left_over in self.folder.rglob(".part-*"):  # of a write that was killed
                left_over.unlink()
        parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in tensors.items():
            part, key = name.split(".", 1)
            parts[part][key] = tensor
        network.load_state_dict(parts["network"])
        average.load_state_dict(parts["average"])
        moments: dict[int, dict[str, Tensor]] = defaultdict(dict)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for name, tensor in parts["optimizer"].items():
            index, key = name.split(".", 1)
            if tensor.ndim:  # laid out as its parameter: the fused step goes through both in turn
                tensor = torch.empty_like(parameters[int(index)]).copy_(tensor)
            moments[int(index)][key] = tensor
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": dict(moments), "param_groups": groups})
        if scaler is not None:
            scaler.load_state_dict(description["scaler"])
        self.history = description["history"]
        self._loss, self._losses = description["losses"]
        return int(description["step"])

    def record(self, step: int, scores: Scores | None) -> bool:
        """Note a step in the history, the table and the curves; are its weights the best?"""
        loss = float(self._loss) / self._losses
        _check_finite(loss, step)
        row = {
            "step": step,
            "epoch": round(step * self._photos_a_step, 3),
            "loss": loss,
        }
        if scores is not None and scores.true_pixels.any():
            row |= {"mean_iou": scores.mean_iou_of_true, "pixel_accuracy": scores.pixel_accuracy}
        self.history.append(row)
        self._loss, self._losses = 0.0, 0
        if self.main:
            with (
                replacing(self.folder / "metrics.csv") as path,
                path.open("w", newline="", encoding="utf-8") as file,
            ):
                writer = csv.DictWriter(file, list(row))
                writer.writeheader()
                writer.writerows(self.history)
            with replacing(self.folder / "curves.png") as path:
                _draw_curves(self.history, path)
        return self.last_is_best

    def save(self, name: str, network: FCN, spec: Spec) -> None:
        """Write a checkpoint, `best` or `last`, with its scores on its card."""
        if self.main:
            row = self._best if name == "best" and self._best else self.history[-1]
            card = {**spec.card, "validation": row}
            save(self.folder / name, network, replace(spec, card=card))

    def save_picture(self, name: str, picture: Image) -> None:
        """Write a picture into the folder, whole or not at all."""
        with replacing(self.folder / name) as path:
            picture.save(path, quality=90)

    def judge(
        self, scores: Scores, class_names: Sequence[str], shown: str, taken_back: float
    ) -> None:
        """Say what was selected and what it scores, and in red where a model learned nothing."""
        if not self.main:
            return
        console = Console(stderr=True)
        reached = scores.mean_iou_of_true
        if self.last_kept:
            highest = max(self._scored, key=lambda row: row["mean_iou"])
            console.print(
                f"best/ holds the last weights: those of step {highest['step']} had "
                f"{highest['mean_iou'] - self.best:.3f} more mIoU, which may be chance"
            )
        if taken_back:
            console.print(
                f"rare classes had too many pixels: {taken_back:.0%} of the class weights are "
                "taken back"
            )
        console.print(
            f"photos will be shown at {shown}: validation mIoU {reached:.3f}, "
            "chosen from four sizes"
        )
        absent = [name for name, n in zip(class_names, scores.true_pixels, strict=True) if not n]
        if absent:
            names = ", ".join(absent[:8]) + (", ..." if len(absent) > 8 else "")
            console.print(f"in none of the photos that sizes were tried on: {names}", markup=False)
        nothing = metrics.commonest_iou(scores.true_pixels)
        if reached <= nothing + NOTHING_LEARNED:
            console.print(
                f"The model is no better than naming the commonest class everywhere: validation "
                f"mIoU {reached:.3f}, and that has {nothing:.3f}. Try more steps (--steps, "
                "--time), look at the masks (upscore check, validation.jpg in the run's folder: "
                "are the truths right?), or show small things larger (--set long_side=...).",
                style="bold red",
            )

    @contextmanager
    def progress(self, step: int, total: int) -> Iterator[Callable[[Tensor], None]]:
        """A bar with the time left, the loss and the best validation mIoU; in a log, lines."""
        columns = (
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=Console(stderr=True), disable=not self.main) as bar:
            task = bar.add_task("", completed=step, total=total)

            def advance(loss: Tensor) -> None:
                nonlocal step
                step += 1
                self._loss, self._losses = self._loss + loss, self._losses + 1
                self._recent.append(loss)
                if step % RECENT == 0 or step == total:
                    recent = float(torch.stack(list(self._recent)).mean())
                    _check_finite(recent, step)
                    text = f"loss {recent:.3f}"
                    if self._scored:
                        text += f"  best validation mIoU {self.best:.3f}"
                    bar.update(task, completed=step, description=text)
                    if step % LINE_EVERY == 0 and not bar.console.is_terminal:
                        bar.console.print(f"step {step}/{total}  {text}")

            yield advance


def require_new(folder: Path, resume: bool) -> None:
    """Raise a RunError where the folder holds a run that is not to be resumed."""
    if not resume and _state(folder).is_file():
        raise RunError(
            f"{folder} holds a run already: go on with it (--resume), or choose another folder"
        )


def _state(folder: Path) -> Path:
    return folder / "state" / "state.json"


def _check_finite(loss: float, step: int) -> None:
    """Raise a RunError where training has diverged; what was saved before stays."""
    if not math.isfinite(loss):
        raise RunError(
            f"the loss is {loss} at step {step}: it diverged. Begin again with lower rates "
            "(--set decoder_rate=..., --set encoder_rate=...)"
        )


def _draw_curves(history: list[dict[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, name, title in zip(
        figure.subplots(1, 2),
        ("loss", "mean_iou"),
        ("training loss", "validation mIoU"),
        strict=True,
    ):
        rows = [row for row in history if name in row]
        axes.plot([row["step"] for row in rows], [row[name] for row in rows], marker=".")
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def _difference(old: Any, new: Any) -> str:
    """The first choice in which two recipes differ, or that the photos do."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in new:
            if old.get(key) != new[key]:
                return f"{key} = {old.get(key)!r}, not {new[key]!r}"
    return "other photos (some were added, removed or renamed)"
