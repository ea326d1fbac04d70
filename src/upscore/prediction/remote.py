"""Photos by URI: one row in, its results written, one row of status out.

A row is an id and a URI that fsspec can read: a path, s3://, gs://, http://. Results are named
after the id alone and appear whole, so a row that is labelled again, or on two machines at once,
leaves what it would have left. Nothing here knows what engine hands out the rows.
"""

import csv
import hashlib
import io
import json
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from upscore.errors import ArgumentError, ImageError, MissingPackageError, message_of
from upscore.io.atomic import make_folder, write_bytes
from upscore.prediction.listing import named_photos
from upscore.prediction.prediction import Prediction
from upscore.prediction.predictor import Predictor

MAX_BYTES = 2 << 30  # of a file, compressed
_READABLE = 60  # characters of an id that stay in the name of its results


class Labeller:
    """A model, loaded once, that labels rows into a folder or a URI; options as of `Predictor`."""

    def __init__(self, model: Any, out: str, overlay: bool = True, **options: Any) -> None:
        self.predictor = Predictor(model, **options)
        self.out, self.overlay = out, overlay

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Label one row; what is wrong with its file becomes its status, other errors are raised.

        The status has the same fields whatever came of it: `id`, `uri`, `status` ("ok", "error"),
        `error`, `labels`, `overlay`, `width`, `height`, `areas` (JSON) and `seconds`.
        """
        started = time.perf_counter()
        status = status_of(row)
        try:
            prediction = self.predictor(read_bytes(status["uri"]))
        except (ImageError, MissingPackageError, MemoryError) as error:
            return status | {"status": "error", "error": message_of(error, status["uri"])}
        status |= self._written(prediction, result_name(status["id"]))
        status["height"], status["width"] = prediction.labels.shape
        status["areas"] = json.dumps(prediction.areas)
        return status | {"seconds": round(time.perf_counter() - started, 4)}

    def _written(self, prediction: Prediction, name: str) -> dict[str, str]:
        """Write the results; return their places under `out`."""
        places = {"labels": f"labels/{name}.png"}
        write(self.out, places["labels"], prediction.encoded_labels())
        if self.overlay:
            suffix, content = prediction.encoded_overlay()
            places["overlay"] = f"overlays/{name}.{suffix}"
            write(self.out, places["overlay"], content)
        return places


def status_of(row: Mapping[str, Any], error: str = "") -> dict[str, Any]:
    """The status of a row of which nothing has come yet, or an error."""
    status = {"id": str(row["id"]), "uri": str(row["uri"])}
    status |= {"status": "error" if error else "ok", "error": error, "labels": "", "overlay": ""}
    return status | {"width": 0, "height": 0, "areas": "{}", "seconds": 0.0}


def result_name(identity: str) -> str:
    """The file name, without suffix, of the results of an id.

    Readable where the id was, in no folder but the one it is put in, and of two ids never the same.

    >>> result_name("cat")
    'cat-77af778b51abd4a3c51c5ddd97204a9c'
    >>> result_name("../../etc/passwd")
    'etc_passwd-3754d6cb3a38e1185e5b382d5f3ef3f1'
    """
    readable = re.sub("[^A-Za-z0-9_-]+", "_", identity).strip("_")[:_READABLE]
    digest = hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()
    return f"{readable or 'photo'}-{digest[:32]}"


def read_bytes(uri: str) -> bytes:
    """The content of a file, wherever it lies; ImageError where it cannot be had."""
    try:
        with _fsspec().open(uri, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except MissingPackageError:
        raise
    except Exception as error:  # each file system raises its own
        raise ImageError(f"cannot be read ({type(error).__name__}: {error})") from error
    if len(content) > MAX_BYTES:
        raise ImageError(f"has over {MAX_BYTES >> 30} GiB")
    return bytes(content)


def write(out: str, place: str, content: bytes) -> None:
    """Write a file under a folder or a URI: by a temporary name and a rename.

    Object stores show no part of what is put; there the rename is a copy within the store.
    """
    system, root = _fsspec().core.url_to_fs(out)
    if "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)):
        make_folder(Path(root, place).parent)
        write_bytes(Path(root, place), content)
        return
    path = f"{root.rstrip('/')}/{place}"
    temporary = f"{path}.part-{secrets.token_hex(8)}"
    system.makedirs(path.rpartition("/")[0], exist_ok=True)
    system.pipe_file(temporary, content)
    system.mv(temporary, path)


def read_rows(given: Sequence[str], out: str) -> Iterator[dict[str, str]]:
    """The rows of one manifest, or a row for each photo: a URI, a file, a folder or a pattern.

    The id of a URI is itself; that of a photo on disk is the name that its results have without
    Ray.
    """
    if len(given) == 1 and _kind(given[0]) in _MANIFESTS:
        yield from read_manifest(given[0])
        return
    uris = [one for one in given if "://" in one]
    yield from ({"id": uri, "uri": uri} for uri in uris)
    for path, name in named_photos((one for one in given if "://" not in one), Path(out)):
        yield {"id": name, "uri": str(path.absolute())}


def distinct(rows: Iterable[Any]) -> Iterator[Any]:
    """Rows, each once; ArgumentError for two that would be written to one place."""
    seen: dict[str, str] = {}
    for row in rows:
        if not {"id", "uri"} <= row.keys():
            raise ArgumentError(f"a row is an id and a uri, not {str(row)[:200]}")
        identity, uri = str(row["id"]), str(row["uri"])
        if identity not in seen:
            seen[identity] = uri
            yield row
        elif seen[identity] != uri:
            raise ArgumentError(f"two photos have the id {identity!r}: {seen[identity]} and {uri}")


def read_manifest(uri: str) -> Iterator[dict[str, str]]:
    """The rows of a .csv with a header, a .jsonl or a .parquet: their id and uri.

    Raises ArgumentError for a file of another kind, or a row without them.
    """
    if _kind(uri) not in _MANIFESTS:
        raise ArgumentError(f"{uri}: a manifest is a .csv, .jsonl or .parquet file of id and uri")
    try:
        for number, row in enumerate(_MANIFESTS[_kind(uri)](read_bytes(uri)), 1):
            if not (isinstance(row, dict) and _given(row.get("id")) and row.get("uri")):
                raise ArgumentError(f"{uri}: row {number} has no id and uri: {str(row)[:200]}")
            yield {"id": str(row["id"]), "uri": str(row["uri"])}
    except (ImageError, csv.Error, ValueError) as error:  # pyarrow's errors are ValueErrors
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"{uri} cannot be read as a manifest: {error}") from error


def _kind(uri: str) -> str:
    return uri.rpartition(".")[2].lower()


def _given(identity: Any) -> bool:
    """Whether an id is there; the number 0 is one."""
    return identity is not None and identity != ""


def _csv(content: bytes) -> Iterator[Any]:
    return iter(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def _jsonl(content: bytes) -> Iterator[Any]:
    # Not splitlines, for which some characters that JSON may hold end a line.
    return (json.loads(line) for line in content.decode("utf-8-sig").split("\n") if line.strip())


def _parquet(content: bytes) -> Iterator[Any]:
    try:
        from pyarrow import BufferReader, parquet
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "a manifest in Parquet needs pyarrow: pip install pyarrow"
        ) from error
    for batch in parquet.ParquetFile(BufferReader(content)).iter_batches(columns=["id", "uri"]):
        yield from batch.to_pylist()


_MANIFESTS = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}


def _fsspec() -> Any:
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "photos by URI need fsspec: pip install 'upscore[ray]'"
        ) from error
    return fsspec
