"""Time things in turn and report ratios: a machine drifts, a ratio within one run much less."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

Times = dict[str, list[float]]

PACKAGES = (  # whose versions matter to the figures, where installed
    "torch",
    "numpy",
    "numba",
    "onnxruntime",
    "openvino",
    "torchvision",
    "segmentation-models-pytorch",
    "transformers",
)


def in_turn(
    calls: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 7,
    seconds: float = 0.02,
    untimed: int = 0,
    synchronise: Callable[[], object] = lambda: None,
) -> Times:
    """Seconds a call of each takes, one figure a round, every round visiting all of them in turn.

    One figure is the mean over enough calls to last about `seconds`. Before the first round each
    is called twice, to compile and to warm the caches. Before each figure come `untimed` calls,
    for calls with thread pools of their own: the threads of the one before still spin for a while.
    `synchronise` waits for a device.
    """

    def spend(call: Callable[[], object], repeats: int) -> float:
        synchronise()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        synchronise()
        return (time.perf_counter() - start) / repeats

    repeats = {}
    for name, call in calls.items():
        spend(call, 1)
        repeats[name] = max(1, round(seconds / spend(call, 1)))
    times: Times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            for _ in range(untimed):
                call()
            times[name].append(spend(call, repeats[name]))
    return times


def ratio(times: Times, slow: str, fast: str) -> float:
    """How many times faster `fast` is than `slow`: the median of the ratios within each round."""
    return median(a / b for a, b in zip(times[slow], times[fast], strict=True))


def milliseconds(times: Times) -> dict[str, float]:
    """The median of each in milliseconds."""
    return {name: 1e3 * median(values) for name, values in times.items()}


def geometric_mean(values: Sequence[float]) -> float:
    """The mean that treats 2 and 1/2 alike."""
    return float(np.exp(np.mean(np.log(values))))


def machine() -> dict[str, Any]:
    """What ran the figures."""
    torch = sys.modules.get("torch")
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if torch is not None:
        found["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows as a table, a column for each key of the first."""
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column, justify="right" if column != next(iter(rows[0])) else "left")
    for row in rows:
        table.add_row(*(_cell(row.get(column, "")) for column in rows[0]))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _cell(value: object) -> str:
    return (
        f"{value:.3g}"
        if isinstance(value, float) and value < 100
        else (f"{value:.0f}" if isinstance(value, float) else str(value))
    )


def write(path: str | Path, **content: Any) -> None:
    """Write the content and the machine as JSON, to a temporary name first."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"machine": machine(), **content}, indent=1) + "\n")
    part.replace(path)


def arguments(description: str) -> argparse.ArgumentParser:
    """The options every benchmark has: `--rounds`, `--only TEXT`, `--json PATH`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each case (default 7)")
    parser.add_argument("--only", default="", help="run the cases whose name contains this text")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser
