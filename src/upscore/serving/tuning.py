"""Fine-tuning in the background: a process that trains on corrected photos, and what came of it."""

import csv
import json
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from upscore.errors import RequestError, UpscoreError
from upscore.io.atomic import make_folder
from upscore.serving.corrections import Corrections
from upscore.serving.models import Models

LEAST = 4  # photos: of fewer, training holds none out to compare models on
_LOG = 4000  # characters of the process's last words
_STOP_SECONDS = 10
_NEEDED = ("torch", "timm", "accelerate")


class Wanted(BaseModel):
    """What to fine-tune, and how long."""

    model_config = ConfigDict(extra="forbid")
    model: str | None = Field(None, max_length=200, description="The default one if not given.")
    time: str = Field("10m", pattern=r"^[0-9]{1,4}(\.[0-9])?[smh]$", description="90s, 10m, 1.5h")
    steps: int | None = Field(None, ge=1, le=1_000_000, description="Instead of a time.")


class Tuning:
    """At most one training process, its run's folder, and the swap of models after it."""

    def __init__(self, models: Models, corrections: Corrections) -> None:
        self._models, self._corrections = models, corrections
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._finishing: threading.Thread | None = None
        self._model, self._run = "", Path()
        self._state, self._message, self._swapped = "idle", "", False

    def available(self) -> dict[str, Any]:
        """Whether models can be fine-tuned here, if not, why; and the fewest photos for it."""
        reason = None
        if self._corrections.folder is None:
            reason = "this server keeps no corrections: start it with --corrections"
        elif missing := [name for name in _NEEDED if find_spec(name) is None]:
            reason = f"training needs {', '.join(missing)}: pip install 'upscore[train]'"
        return {"available": reason is None, "reason": reason, "photos": LEAST}

    def start(self, model: str, wanted: Wanted) -> None:
        """Begin to train on the corrected photos, from a model.

        Raises RequestError: 409 where training runs already, cannot run here, or has too few
        photos.
        """
        with self._lock:
            if reason := self.available()["reason"]:
                raise RequestError(409, reason)
            if self._finishing is not None and self._finishing.is_alive():
                raise RequestError(409, "a model is being fine-tuned: wait for it or stop it")
            found = self._corrections.describe()
            if found["photos"] < LEAST:
                raise RequestError(
                    409,
                    f"{found['photos']} corrected photos: {LEAST} are the fewest, as one of them "
                    "is kept to compare the models on",
                )
            data = Path(found["folder"])
            self._run = _new_folder(data.with_name(f"{data.name}-runs"))
            source = self._models.source(model)
            command = [sys.executable, "-m", "upscore.serving.finetune"]
            length = f"time={wanted.time}" if wanted.steps is None else f"steps={wanted.steps}"
            with (self._run / "log.txt").open("wb") as log:
                self._process = subprocess.Popen(
                    [*command, str(data), str(self._run), source, length],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            self._model, self._state, self._message, self._swapped = model, "training", "", False
            self._finishing = threading.Thread(
                target=self._finish, args=(self._process,), daemon=True
            )
            self._finishing.start()

    def stop(self) -> None:
        """End the process, if one runs; what it has saved stays."""
        process, finishing = self._process, self._finishing
        if process is None or finishing is None or process.poll() is not None:
            return
        self._state = "stopped"
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        finishing.join()

    def describe(self) -> dict[str, Any]:
        """How it goes, from the files of the run."""
        begun = self._model != ""
        compared = _read(self._run / "comparison.json") if begun else {}
        plan = _read(self._run / "plan.json") if begun else {}
        curve = _curve(self._run / "metrics.csv") if begun else []
        steps = plan.get("recipe", {}).get("steps")
        state = self._state
        if state == "training" and curve and curve[-1]["step"] == steps:
            state = "comparing"
        return {
            "state": state,
            "model": self._model or None,
            "step": curve[-1]["step"] if curve else 0,
            "steps": steps,
            "curve": curve,
            "before": compared.get("before"),
            "after": compared.get("after"),
            "photos": compared.get("photos"),
            "swapped": self._swapped,
            "message": self._message,
            "run": str(self._run) if begun else None,
            "log": _end_of(self._run / "log.txt") if begun else "",
        }

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the process; serve its model from now on if it is the better one."""
        code = process.wait()
        if self._state == "stopped":
            self._message = "stopped"
            return
        if code:
            self._state, self._message = "failed", "training failed: see the log"
            return
        kept = f"{self._model} stays as it was, and the new model is in {self._run}"
        compared = _read(self._run / "comparison.json")
        if not compared:
            why = _read(self._run / "plan.json")["split"]
            said = f"no photo was held out to compare the models on ({why}); {kept}"
            self._state, self._message = "done", said
            return
        before, after, photos = compared["before"], compared["after"], compared["photos"]
        held_out = "1 held-out photo" if photos == 1 else f"{photos} held-out photos"
        said = f"mean IoU on {held_out}: {before:.3f} before, {after:.3f} after"
        if after > before:
            try:
                self._models.replace(self._model, str(self._run))
            except (UpscoreError, MemoryError) as error:
                self._state, self._message = "failed", f"the new model cannot be served: {error}"
                return
            self._swapped = True
            said += f"; {self._model} is the new model now, and stays in {self._run}"
        else:
            said += f"; {kept}"
        self._state, self._message = "done", said


def _new_folder(parent: Path) -> Path:
    """The first of parent/1, parent/2, ... that is not there, made."""
    make_folder(parent)
    number = 1 + max((int(p.name) for p in parent.iterdir() if p.name.isdecimal()), default=0)
    return make_folder(parent / str(number))


def _read(path: Path) -> dict[str, Any]:
    """A JSON file's values; none where it is not there yet."""
    if not path.is_file():
        return {}
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _curve(path: Path) -> list[dict[str, Any]]:
    """Loss and validation mIoU by step."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {
                "step": int(row["step"]),
                "loss": float(row["loss"]),
                "mean_iou": float(row["mean_iou"]) if row.get("mean_iou") else None,
            }
            for row in csv.DictReader(file)
        ]


def _end_of(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG))
        return file.read().decode(errors="replace")
