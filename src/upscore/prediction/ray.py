"""Photos on the machines of a Ray cluster: a thin engine for the rows of `remote.py`.

Each actor holds a model and has one row at a time. No pixels travel through Ray, so the smallest
object store will do. Ray retries nothing: here it is counted how often a row's actor died.
"""

import json
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from upscore import images
from upscore.errors import MissingPackageError, RunError
from upscore.inference.engines import EngineName, Precision
from upscore.inference.load import LongSide, Models
from upscore.inference.tta import Tta
from upscore.kernels.threads import limit_threads
from upscore.prediction.remote import Labeller, distinct, read_rows, status_of, write

ATTEMPTS = 2  # a row that has killed as many actors is left out
_FAILED_STARTS = 3  # in a row, after which none will start
_OBJECT_STORE = 80 << 20  # bytes; Ray takes no less than 75 MiB


def label(
    dataset: Any,
    model: Models,
    out: str,
    *,
    engine: EngineName = "auto",
    device: str | None = None,
    precision: Precision = "float32",
    long_side: LongSide = "trained",
    tta: Tta = (),
    max_pixels: int = images.MAX_PIXELS,
    overlay: bool = True,
    actors: int | None = None,
) -> Any:
    """Label the rows of a Ray dataset, each an `id` and a `uri`.

    Results are written to `out/labels` and `out/overlays`, a folder that all machines see or a URI,
    under names that are derived from the ids. The model is loaded once for each actor, and there is
    an actor for each CPU unless `actors` says how many.

    Args:
        dataset: a `ray.data.Dataset`, or any iterable of rows.
        model: "bundled", or a folder that all machines see.
        out: a folder that all machines see, or a URI.
        engine: as for `upscore.load`.
        device: as for `upscore.load`; "cuda" gives each actor a GPU.
        precision: as for `upscore.load`.
        long_side: as for `upscore.Predictor`.
        tta: as for `upscore.Predictor`.
        max_pixels: larger photos are recorded as failed.
        overlay: write overlays too.
        actors: how many; as many as the cluster has CPUs if not given.

    Returns:
        The status of each row: a Ray dataset, or a list where `dataset` is no Ray dataset.

    Raises:
        MissingPackageError: Ray is not installed.
        RunError: the actors cannot start.
        ArgumentError: one id with two URIs.
    """
    options: dict[str, Any] = {
        "engine": engine,
        "device": device,
        "precision": precision,
        "long_side": long_side,
        "tta": tta,
        "max_pixels": max_pixels,
        "overlay": overlay,
        "actors": actors,
    }
    if not hasattr(dataset, "iter_rows"):
        return list(labelled(dataset, model, out, **options))
    import ray.data  # needs pandas and pyarrow: who has a dataset has them

    # Drawn before there are actors: these hold the CPUs that what makes the rows needs.
    rows = list(dataset.select_columns(["id", "uri"]).iter_rows())
    return ray.data.from_items(list(labelled(rows, model, out, **options)))


def predict_rows(
    given: Sequence[str], out: str, model: Any, *, address: str | None = None, **options: Any
) -> list[dict[str, Any]]:
    """Label what `read_rows` finds; write `out/status.jsonl` and return the rows of it."""
    rows = list(distinct(read_rows(given, out)))
    connect(address)
    found = list(labelled(rows, model, out, **options))
    write(out, "status.jsonl", b"".join(json.dumps(one).encode() + b"\n" for one in found))
    return found


def connect(address: str | None = None) -> Any:
    """Return Ray, connected to the cluster at an address or RAY_ADDRESS, else to one of our own."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray's warning asks for
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingPackageError("this needs Ray: pip install 'upscore[ray]'") from error
    if not ray.is_initialized():
        address = address or os.environ.get("RAY_ADDRESS") or "local"  # never one that is found
        own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
        ray.init(address, log_to_driver=False, **(own if address == "local" else {}))
    return ray


def labelled(
    rows: Iterable[Any], model: Any, out: str, *, actors: int | None = None, **options: Any
) -> Iterator[dict[str, Any]]:
    """Yield the status of each row as it comes; rows are drawn as actors become free."""
    ray = connect()
    gpus = 1 if str(options.get("device") or "").startswith("cuda") else 0
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, max_task_retries=0)(_Actor)
    todo, coming, died = deque[Any](), distinct(rows), Counter[str]()
    starting: dict[Any, Any] = {}  # what says that it is ready -> an actor
    working: dict[Any, tuple[Any, Any]] = {}  # what will be its status -> an actor, a row
    failed_starts = 0

    def more() -> bool:
        if not todo:
            todo.extend(islice(coming, 1))
        return bool(todo)

    def start() -> None:
        actor = remote.remote(model, out, options)
        starting[actor.ready.remote()] = actor

    def give(actor: Any) -> None:  # one that gets nothing is ended by Ray: nobody holds it
        if more():
            row = todo.popleft()
            working[actor.label.remote(row)] = actor, row

    for _ in range(actors or max(1, int(ray.cluster_resources().get("CPU", 1)))):
        start()
    while working or more():
        (done,), _ = ray.wait([*working, *starting], num_returns=1)
        if done in starting:
            actor = starting.pop(done)
            try:
                ray.get(done)
            except ray.exceptions.RayError as error:
                failed_starts += 1
                if failed_starts == _FAILED_STARTS:
                    raise RunError(f"the actors of Ray cannot start: {error}") from error
                start()
            else:
                failed_starts = 0
                give(actor)
            continue
        actor, row = working.pop(done)
        try:
            status = ray.get(done)
        except ray.exceptions.RayTaskError:
            raise  # an error of the work itself
        except ray.exceptions.RayError:  # the actor died, or Ray ended it for want of memory
            died[row["id"]] += 1
            start()
            if died[row["id"]] < ATTEMPTS:
                todo.append(row)
                continue
            status = status_of(row, f"{ATTEMPTS} actors died while working on it; it is left out")
        else:
            give(actor)
        yield status


class _Actor:
    """A model on a machine of the cluster."""

    def __init__(self, model: Any, out: str, options: dict[str, Any]) -> None:
        limit_threads(1)
        self._labeller = Labeller(model, out, **options)

    def ready(self) -> bool:
        return True

    def label(self, row: Any) -> dict[str, Any]:
        return self._labeller(row)
