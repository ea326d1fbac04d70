"""How a folder's photos are found and divided: kept with a run, which has to do it again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from upscore.data import Patterns
from upscore.errors import RunError


@dataclass(frozen=True)
class Reading:
    """How the photos of a folder are found and divided; the mapping of classes is the recipe's.

    Attributes:
        layout, skip: as for `upscore.data.find`.
        allow, group_by, fold: as for `upscore.plan`.
    """

    layout: str | Patterns | None = None
    skip: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    group_by: str | None = None
    fold: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Reading":
        """The reading that arguments, or values of JSON, with these names mean."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        if isinstance(known.get("layout"), dict):
            known["layout"] = Patterns(**known["layout"])
        for name in ("skip", "allow"):
            known[name] = tuple(sorted(map(str, known.get(name, ()))))
        return cls(**known)


def require_same(folder: Path, began: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise RunError where a run is asked for another value than it began with.

    What is None or empty is not asked for. Values are compared as they come back from a file.
    """
    for name in asked:
        first, now = (json.loads(json.dumps(values[name])) for values in (began, asked))
        if now and now != first:
            raise RunError(
                f"{folder} was begun with {name} = {first!r:.200}, not {now!r:.200}: leave {name} "
                "out to go on with the run, or choose another folder"
            )
