"""Machines that train together and share no disk: each keeps the whole run in its own folder.

On each machine its first process writes. Machines that see the same folder count as one.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from upscore.data import Dataset, Survey
from upscore.errors import CheckpointError, RunError
from upscore.io.atomic import make_folder, write_bytes
from upscore.models.weights import read_tensors
from upscore.training.processes import by_each, from_one, of_all, process

# The files that go to other machines, in this order: each JSON after the files that it names, and
# the state last, so that a machine which has the state has the rest too.
_FILES = (
    *("plan.json", "metrics.csv", "curves.png", "validation.jpg"),
    *("best/model-*", "best/model.json", "last/model-*", "last/model.json"),
    *("state/state-*", "state/state.json"),
)
_PLAN, _NOTHING, _NOT_ASKED = -1, -2, -3  # instead of a step


def several() -> bool:
    """Whether processes on several machines train together."""
    state = process()
    return state.num_processes > 1 and of_all(bool(state.is_local_main_process)).count(True) > 1


def keeps(folder: Path) -> bool:
    """Whether this process writes the run's folder: one does of all those that see it.

    On one machine that is the main process. With several, the first process of each puts a file
    into the folder and looks whose files are there.
    """
    state = process()
    if not several():
        return bool(state.is_main_process)

    def put() -> str | None:
        if not state.is_local_main_process:
            return None
        mark = f".part-{secrets.token_hex(8)}"
        write_bytes(make_folder(folder) / mark, b"")
        return mark

    mark = by_each(put)
    seen = [other for other in of_all(mark) if other and (folder / other).exists()]
    state.wait_for_everyone()
    if mark is None:
        return False
    (folder / mark).unlink()
    return seen[0] == mark


def share_run(folder: Path) -> None:
    """Give the run of the machine that has come furthest to all the others.

    Raises:
        RunError: the machines' folders hold different runs; they stay as they are.
    """
    if not several():
        return
    keeper, rank = keeps(folder), process().process_index
    found = of_all(_progress(folder) if keeper else (_NOT_ASKED, ""))
    if len({run for _, run in found if run}) > 1:
        raise RunError(
            f"{folder} does not hold the same run on all machines: choose another folder, or "
            "remove it where the run is not the one to go on with"
        )
    steps = [step for step, _ in found]
    source = steps.index(max(steps))
    patterns = _FILES if steps[source] >= 0 else ("plan.json",)
    paths = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    for name in from_one([path.relative_to(folder) for path in paths], source):
        content = from_one((folder / name).read_bytes() if rank == source else b"", source)
        by_each(partial(_take, folder / name, content, keeper and rank != source))


def _take(path: Path, content: bytes, wanted: bool) -> None:
    if wanted:
        write_bytes(make_folder(path.parent) / path.name, content)


def _progress(folder: Path) -> tuple[int, str]:
    """The step of the whole state in a folder, and what tells its run from others."""
    try:
        description, _ = read_tensors(folder / "state", "state")
    except CheckpointError:  # none, or a damaged one
        return (_PLAN if (folder / "plan.json").is_file() else _NOTHING), ""
    run = json.dumps([description.get(key) for key in ("recipe", "photos")], sort_keys=True)
    return int(description["step"]), hashlib.sha256(run.encode()).hexdigest()


def require_same_data(training: Survey, validation: Dataset | None) -> None:
    """Raise RunError in all processes where one has other photos or masks than the first."""
    held = validation.samples if validation else ()
    require_alike(
        {
            "photos to learn from": {sample.name for sample in training.dataset.samples},
            "photos that score it": {sample.name for sample in held},
            "classes": training.dataset.class_names,
            "pixels of these classes": training.class_pixels.sum(axis=0).tolist(),
        }
    )


def require_alike(facts: Mapping[str, Any]) -> None:
    """Raise RunError in all processes where one differs from the first in one of the facts."""
    by_each(partial(_compare, facts, from_one(facts)))


def _compare(mine: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    for name, value in mine.items():
        if value == first[name]:
            continue
        if isinstance(value, set):
            odd = sorted(value ^ first[name])
            what = f"{len(odd)} of one are not on the other, such as {odd[0]}"
        else:
            what = f"{value!r:.200}, and on the first {first[name]!r:.200}"
        raise RunError(f"this machine and the first differ in the {name}: {what}")
