"""The folder of a training run: its state, its checkpoints and what a person looks at.

recipe.json       the choices, fixed for the run
state/            everything that a killed run needs to go on
best/ last/       checkpoints of the averaged weights
metrics.csv  curves.png  tensorboard/
"""

import csv
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from upscore.data import Dataset
from upscore.errors import RunError
from upscore.evaluation.metrics import Scores
from upscore.io.atomic import replacing, write_json
from upscore.models import FCN, Spec, save
from upscore.models.weights import read_tensors, write_tensors
from upscore.training.recipe import Recipe

RECENT = 10  # steps whose mean loss the progress bar shows, and how often it changes
LINE_EVERY = 50  # steps between two lines in a log


class Run:
    """State and records of one run; all processes keep them, the main one writes."""

    def __init__(self, folder: Path, recipe: Recipe, data: Dataset, *, main: bool) -> None:
        self.folder, self.main = folder, main
        identity = {"recipe": asdict(recipe), "photos": [sample.name for sample in data.samples]}
        self.identity = json.loads(json.dumps(identity))  # as it comes back from a file
        self._begun = (folder / "state" / "state.json").is_file()
        self.history: list[dict[str, float]] = []
        self._losses: list[Tensor] = []

    @property
    def best(self) -> float:
        """The highest validation mIoU so far, NaN before the first."""
        return max((row["mean_iou"] for row in self.history), default=float("nan"))

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
            if not resume:
                raise RunError(
                    f"{self.folder} holds a run already: go on with it (--resume), "
                    "or choose another folder"
                )
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
            write_json(self.folder / "recipe.json", self.identity["recipe"])
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
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        write_tensors(self.folder / "state", "state", tensors, description)

    def _load_state(
        self, network: nn.Module, average: nn.Module, optimizer: Any, scaler: Any
    ) -> int:
        description, tensors = read_tensors(self.folder / "state", "state")
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
        for name, tensor in parts["optimizer"].items():
            index, key = name.split(".", 1)
            moments[int(index)][key] = tensor
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": dict(moments), "param_groups": groups})
        if scaler is not None:
            scaler.load_state_dict(description["scaler"])
        self.history = description["history"]
        return int(description["step"])

    def record(self, epoch: int, step: int, scores: Scores) -> bool:
        """Note an epoch in the history, the table, the curves and TensorBoard; is it the best?"""
        better = not self.history or scores.mean_iou > self.best
        row = {
            "epoch": epoch,
            "step": step,
            "loss": float(torch.stack(self._losses).mean()),
            "mean_iou": scores.mean_iou,
            "pixel_accuracy": scores.pixel_accuracy,
        }
        self.history.append(row)
        self._losses = []
        if self.main:
            with replacing(self.folder / "metrics.csv") as path, path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(row))
                writer.writeheader()
                writer.writerows(self.history)
            _draw_curves(self.history, self.folder / "curves.png")
            self._tensorboard(row)
        return better

    def save(self, name: str, network: FCN, spec: Spec) -> None:
        """Write a checkpoint, `best` or `last`, with its scores on its card."""
        if self.main:
            now = self.history[-1] if self.history else {}
            save(self.folder / name, network, replace(spec, card={**spec.card, "validation": now}))

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
                self._losses.append(loss)
                if step % RECENT == 0 or step == total:
                    recent = float(torch.stack(self._losses[-RECENT:]).mean())
                    text = f"loss {recent:.3f}"
                    if self.history:
                        text += f"  best validation mIoU {self.best:.3f}"
                    bar.update(task, completed=step, description=text)
                    if step % LINE_EVERY == 0 and not bar.console.is_terminal:
                        bar.console.print(f"step {step}/{total}  {text}")

            yield advance

    def _tensorboard(self, row: dict[str, float]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        step = int(row["step"])
        with SummaryWriter(str(self.folder / "tensorboard"), purge_step=step) as writer:
            for name in ("loss", "mean_iou", "pixel_accuracy"):
                writer.add_scalar(name, row[name], step)


def _draw_curves(history: list[dict[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, name, title in zip(
        figure.subplots(1, 2),
        ("loss", "mean_iou"),
        ("training loss", "validation mIoU"),
        strict=True,
    ):
        axes.plot(epochs, [row[name] for row in history], marker=".")
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _difference(old: Any, new: Any) -> str:
    """The first choice in which two recipes differ, or that the photos do."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in new:
            if old.get(key) != new[key]:
                return f"{key} = {old.get(key)!r}, not {new[key]!r}"
    return "other photos"
