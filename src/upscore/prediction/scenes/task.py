"""What to make of each picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from upscore.errors import ArgumentError
from upscore.inference.segmenter import Segmenter

Format = Literal["tif", "zarr", "png"]
Polygons = Literal["geojson", "gpkg", "coco.json"]


@dataclass(frozen=True)
class Task:
    """A model and the arguments of `predict_scenes`, the same for all of its pictures.

    `model` tells one model from another.
    """

    segmenter: Segmenter
    model: str
    out: Path
    tile: int | None
    scale: float | None
    resolution: str | float | None
    confidence: bool
    format: Format
    polygons: tuple[Polygons, ...]
    progress: bool

    def __post_init__(self) -> None:
        for name, values, allowed in (
            ("format", (self.format,), get_args(Format)),
            ("polygons", self.polygons, get_args(Polygons)),
        ):
            for value in values:
                if value not in allowed:
                    raise ArgumentError(f"{name} must be {', '.join(allowed)}, not {value!r}")
        if self.polygons and self.format != "tif":
            raise ArgumentError(f"polygons are made of a GeoTIFF, not of {self.format}: take tif")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The results of a window."""
        return ("labels", "confidence") if self.confidence else ("labels",)
