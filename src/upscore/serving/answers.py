"""What a photo's labels are sent as: an indexed PNG, JSON with run lengths, GeoJSON, an overlay."""

import base64
import json
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from upscore.errors import RequestError
from upscore.heads.masks.rle import lengths_of, packed
from upscore.images import preview
from upscore.models.spec import Spec
from upscore.prediction.prediction import Prediction
from upscore.rasters.polygons import outlines

Format = Literal["png", "json", "geojson", "overlay"]
MEDIA_TYPES: dict[str, Format] = {
    "image/png": "png",
    "application/json": "json",
    "application/geo+json": "geojson",
    "image/jpeg": "overlay",
}
_OF_OVERLAYS = {"jpg": "image/jpeg", "png": "image/png"}


@dataclass(frozen=True)
class Found:
    """What a model found in a photo: uint8 and, if asked for, float32 of H x W."""

    model: str
    spec: Spec
    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32] | None = None


def accepted(accept: str) -> Format:
    """The format that an Accept header asks for, PNG if it leaves the choice; or RequestError."""
    wanted = sorted(map(_range, accept.split(",")), key=lambda pair: -pair[1])
    for media, weight in wanted:
        for known, name in MEDIA_TYPES.items():
            if weight > 0 and media in (known, known.split("/")[0] + "/*", "*/*", ""):
                return name
    raise RequestError(
        406, f"Accept is {accept!r}: expected one of {', '.join(MEDIA_TYPES)}, or format="
    )


def _range(text: str) -> tuple[str, float]:
    """A media range of an Accept header and its weight."""
    media, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media, float(parameter[2:])
            except ValueError:
                return media, 0.0
    return media, 1.0


def encoded(found: Found, format: Format, photo: NDArray[Any]) -> tuple[str, bytes]:
    """The media type and the bytes of an answer."""
    if format == "json":
        return "application/json", _json(_described(found))
    if format == "geojson":
        return "application/geo+json", _json(_collection(found))
    spec = found.spec
    shown = preview(photo, spec.ranges) if format == "overlay" else photo
    prediction = Prediction(shown, found.labels, spec.class_names, spec.palette)
    if format == "png":
        return "image/png", prediction.encoded_labels()
    suffix, picture = prediction.encoded_overlay()
    return _OF_OVERLAYS[suffix], picture


def _described(found: Found) -> dict[str, Any]:
    """Each class that was found: its area, its run lengths, how sure the model is of it."""
    height, width = found.labels.shape
    ids, runs = _runs_by_class(found.labels)
    counts = {int(i): int((run[:, 1] - run[:, 0]).sum()) for i, run in zip(ids, runs, strict=True)}
    sums = None
    if found.confidence is not None:
        sums = np.bincount(found.labels.ravel(), found.confidence.ravel(), 256)
    classes = []
    for i, run in zip(ids, runs, strict=True):
        text = packed(lengths_of(run, height * width)).decode()
        one: dict[str, Any] = class_of(found.spec, int(i)) | {
            "pixels": counts[int(i)],
            "area": counts[int(i)] / found.labels.size,
            "segmentation": {"size": [height, width], "counts": text},
        }
        if sums is not None:
            one["confidence"] = round(float(sums[i]) / counts[int(i)], 4)
        classes.append(one)
    classes.sort(key=lambda one: (-one["pixels"], one["id"]))
    answer = {"model": found.model, "width": width, "height": height, "classes": classes}
    if found.confidence is not None:
        answer["confidence"] = {
            "mean": round(float(found.confidence.mean(dtype=np.float64)), 4),
            "image": _confidence_image(found.confidence),
        }
    return answer


def _runs_by_class(labels: NDArray[np.uint8]) -> tuple[Any, list[Any]]:
    """The ids that are there, and of each its runs (first, end) down the columns."""
    line = labels.ravel(order="F")
    edges = np.concatenate(([0], np.flatnonzero(line[1:] != line[:-1]) + 1, [line.size]))
    runs, ids = np.stack([edges[:-1], edges[1:]], 1), line[edges[:-1]]
    order = np.argsort(ids, kind="stable")
    present, first = np.unique(ids[order], return_index=True)
    return present, np.split(runs[order], first[1:])


def _confidence_image(confidence: NDArray[np.float32]) -> str:
    """Probabilities in whole per cent, as a grey PNG in a data: address."""
    stream = BytesIO()
    Image.fromarray(np.rint(confidence * 100).astype(np.uint8)).save(stream, "png")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _collection(found: Found) -> dict[str, Any]:
    """Regions as GeoJSON in pixels: x to the right, y down, from the upper left corner."""
    height, width = found.labels.shape
    features = []
    for polygon in outlines(found.labels):
        name = found.spec.class_names[polygon.label]
        properties = {"class": name, "label": polygon.label, "pixels": polygon.pixels}
        rings = [[[int(x), int(y)] for x, y in ring] for ring in polygon.rings]
        geometry = {"type": "Polygon", "coordinates": rings}
        features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    return {
        "type": "FeatureCollection",
        "model": found.model,
        "width": width,
        "height": height,
        "features": features,
    }


def class_of(spec: Spec, label: int) -> dict[str, Any]:
    """The id, name and colour of a class."""
    colour = "#{:02x}{:02x}{:02x}".format(*spec.palette[label])
    return {"id": label, "name": spec.class_names[label], "color": colour}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
