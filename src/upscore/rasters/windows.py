"""Finished windows on disk, so that work that was killed goes on where it was."""

import json
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ArgumentError, RunError
from upscore.io.atomic import make_folder, write_bytes, write_json
from upscore.rasters.raster import Window

_PLAN = "plan.json"


class WindowStore:
    """The windows of a picture that are finished, a file for each window and kind of result.

    A file is there whole or not at all, and there is no other record: a file that exists is a
    finished window, so a killed run can go on. Several processes may store different windows at the
    same time.

    Args:
        folder: a folder of its own, such as `OUT/.scene.part`; made if it is missing.
        plan: JSON values that decide what the windows hold: the picture, its size and time of
            change, the model, the tiles. What lies there of another plan is discarded.
        kinds: the results of a window, each uint8 with 255 for void.
        free: names of values that may differ from those of what lies there, which are then taken.

    Attributes:
        plan: the plan, with the values that were taken.
        discarded: whether windows of another plan were there and are gone.

    Raises:
        RunError: the folder holds files, but no plan.
        OutputError: the folder cannot be written.

    Example:
        >>> import tempfile, numpy as np
        >>> from upscore.rasters.raster import Window
        >>> folder, window = tempfile.mkdtemp(), Window(0, 0, 1, 2)
        >>> WindowStore(folder, {"tile": 2}).put(window, labels=np.uint8([[3, 4]]))
        >>> again = WindowStore(folder, {"tile": 2})
        >>> again.done(window), again.read(window, "labels").tolist()
        (True, [[3, 4]])
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        plan: Mapping[str, Any],
        kinds: tuple[str, ...] = ("labels",),
        free: Collection[str] = (),
    ) -> None:
        self.folder, self.kinds = make_folder(folder), kinds
        wanted = json.loads(json.dumps(plan))
        found = self._plan()
        if isinstance(found, dict):
            taken = wanted | {name: found[name] for name in free if name in found}
            wanted = taken if taken == found else wanted
        self.plan: dict[str, Any] = wanted
        self.discarded = found not in (None, wanted)
        if self.discarded:  # The old plan goes last: a kill in between leaves the same task.
            for path in self.folder.iterdir():
                if path.name != _PLAN:
                    path.unlink(missing_ok=True)
        if found != wanted:
            write_json(self.folder / _PLAN, wanted)

    def done(self, window: Window) -> bool:
        """Whether all results of a window are there."""
        return all(self._path(window, kind).exists() for kind in self.kinds)

    def put(self, window: Window, **results: NDArray[np.uint8]) -> None:
        """Store all kinds of results of a window, each uint8, height x width."""
        if set(results) != set(self.kinds):
            raise ArgumentError(f"results {sorted(results)}, expected {sorted(self.kinds)}")
        for values in results.values():
            check_values(window, values)
        for kind, values in results.items():
            # Level 1 brings 500 million labels a second to a twentieth; PNG takes twice as long.
            write_bytes(self._path(window, kind), zlib.compress(values.tobytes(), 1))

    def read(self, window: Window, kind: str) -> NDArray[np.uint8]:
        """One result of a window, as it was stored.

        Raises ArgumentError where there is none, RunError where the file is damaged.
        """
        path = self._path(window, kind)
        try:
            data = zlib.decompress(path.read_bytes())
            return np.frombuffer(data, np.uint8).reshape(window.height, window.width)
        except FileNotFoundError:
            raise ArgumentError(f"{path}: {window} is not finished") from None
        except (OSError, ValueError, zlib.error) as error:
            raise RunError(f"{path}: damaged ({error}); delete it and start again") from error

    def results(self, windows: Iterable[Window], kind: str) -> Iterator[tuple[Window, Any]]:
        """Each window with one of its results (read-only), read when its turn comes."""
        return ((window, self.read(window, kind)) for window in windows)

    def remove(self) -> None:
        """Delete the folder, when its windows are no longer needed."""
        shutil.rmtree(self.folder)

    def _path(self, window: Window, kind: str) -> Path:
        return self.folder / "_".join((kind, *map(str, window)))

    def _plan(self) -> Any:
        """The plan of what is in the folder; None of an empty folder."""
        try:
            return json.loads((self.folder / _PLAN).read_text("utf-8"))
        except FileNotFoundError:
            others = [p.name for p in self.folder.iterdir() if not p.name.startswith(".part-")]
            if others and not (self.folder / _PLAN).exists():  # Another process may have begun.
                raise RunError(
                    f"{self.folder}: {sorted(others)[0]} is in this folder, but no {_PLAN}, so "
                    "upscore did not make it; choose another output folder or delete this one"
                ) from None
            return None
        except ValueError:
            return "damaged"


def check_values(window: Window, values: NDArray[Any]) -> None:
    """Raise ArgumentError unless values are uint8 and fill the window."""
    if values.dtype != np.uint8 or values.shape != (window.height, window.width):
        raise ArgumentError(
            f"{values.dtype} {values.shape} for {window}, "
            f"expected uint8 {(window.height, window.width)}"
        )
