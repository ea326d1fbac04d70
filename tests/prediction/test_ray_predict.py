import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from upscore.errors import ArgumentError, MissingPackageError, RunError
from upscore.prediction.remote import (
    Labeller,
    distinct,
    read_manifest,
    read_rows,
    result_name,
)

pytestmark = pytest.mark.slow

DRIVER = (
    "import sys; from upscore.prediction.ray import predict_rows\n"
    "predict_rows([sys.argv[1]], sys.argv[2], 'bundled', address=sys.argv[3])"
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    found = []
    for i in range(24):
        pixels = np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        found.append({"id": f"photo/{i}", "uri": str(folder / f"{i}.png")})
    return found


@pytest.fixture(scope="module")
def manifest(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("manifest") / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def alone(rows, tmp_path_factory):
    """What one process without Ray makes of the rows."""
    out = tmp_path_factory.mktemp("alone")
    labeller = Labeller("bundled", str(out))
    for row in rows:
        labeller(row)
    return outputs(out)


def wait_for(out, count):
    """Until so many label maps are there, and how many there are then."""
    deadline = time.monotonic() + 60
    while (found := len(list(out.glob("labels/[!.]*")))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def finished(out):
    """The results, without the statuses and what a process was writing when it was killed."""
    made = outputs(out)
    made.pop("status.jsonl")
    return {path: made[path] for path in made if ".part-" not in path}


def outputs(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_a_row_is_read_and_written_by_uri(rows, tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    with open(rows[0]["uri"], "rb") as stream:
        memory.pipe_file("/in/a.png", stream.read())
    status = Labeller("bundled", "memory://out")({"id": "../a", "uri": "memory://in/a.png"})
    assert (status["status"], status["width"], status["height"]) == ("ok", 64, 48)
    assert sum(json.loads(status["areas"]).values()) == pytest.approx(1)
    assert memory.find("/out") == [f"/out/labels/{result_name('../a')}.png",
                                   f"/out/overlays/{result_name('../a')}.jpg"]  # fmt: skip
    plain = Labeller("bundled", str(tmp_path))({"id": "../a", "uri": rows[0]["uri"]})
    assert memory.cat_file(f"/out/{status['labels']}") == (tmp_path / plain["labels"]).read_bytes()
    for uri, reason in (("memory://in/none.png", "cannot be read"), ("odd://x", "cannot be read")):
        failed = Labeller("bundled", str(tmp_path))({"id": "b", "uri": uri})
        assert failed.keys() == status.keys()
        assert failed["status"] == "error"
        assert reason in failed["error"]


def test_names_are_safe_and_differ():
    ids = ["a", "A", "a/b", "a_b", "../a", "..", "", "ä", "x" * 500, "x" * 501, "\udcff", "a\0"]
    names = {result_name(one).lower() for one in ids}
    assert len(names) == len(ids)
    for name in names:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
        assert len(name) < 120


def test_manifests(tmp_path):
    csv, jsonl = tmp_path / "m.csv", tmp_path / "m.jsonl"
    csv.write_text('uri,more,id\n"/a, b.png",1,x\n')
    jsonl.write_text('{"id": 7, "uri": "s3://b/c"}\n\n')
    assert list(read_manifest(str(csv))) == [{"id": "x", "uri": "/a, b.png"}]
    assert list(read_manifest(str(jsonl))) == [{"id": "7", "uri": "s3://b/c"}]
    csv.write_text("id,path\nx,y\n")
    jsonl.write_text("{\n")
    for wrong in (csv, jsonl, tmp_path / "none.csv", tmp_path / "m.txt"):
        with pytest.raises(ArgumentError, match=r"manifest|row 1"):
            list(read_manifest(str(wrong)))


def test_a_manifest_in_parquet(tmp_path, monkeypatch):
    path = tmp_path / "m.parquet"
    path.write_bytes(b"nothing")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match="pip install pyarrow"):
        list(read_manifest(str(path)))
    monkeypatch.undo()
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    with pytest.raises(ArgumentError, match="cannot be read as a manifest"):
        list(read_manifest(str(path)))
    parquet.write_table(pyarrow.table({"id": [0, 1], "uri": ["a", "b"]}), path)
    assert list(read_manifest(str(path))) == [{"id": "0", "uri": "a"}, {"id": "1", "uri": "b"}]


def test_rows_of_photos(rows, tmp_path):
    uri = rows[0]["uri"]
    found = list(read_rows([uri, "s3://b/c.jpg"], str(tmp_path)))
    assert found == [{"id": "s3://b/c.jpg", "uri": "s3://b/c.jpg"}, {"id": "0", "uri": uri}]


def test_one_place_is_never_written_from_two_photos():
    a, b = {"id": "x", "uri": "a"}, {"id": "x", "uri": "b"}
    assert list(distinct([a, a])) == [a]
    with pytest.raises(ArgumentError, match="two photos have the id 'x': a and b"):
        list(distinct([a, b]))


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=node)
    made.extra = made.add_node(**{k: v for k, v in node.items() if k != "include_dashboard"})
    import ray

    ray.init(made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def test_deadly_files_are_left_out_and_the_rest_goes_on(cluster, rows, tmp_path, monkeypatch):
    from upscore.prediction import ray as engine

    class Unreadable:
        """What Ray cannot read back: one of its errors that does not say that an actor died."""

        def __reduce__(self):
            return int, ("no number",)

    class Deadly(engine._Actor):
        def label(self, row):
            if row["id"] == "unreadable":
                return Unreadable()
            if row["id"] == "deadly":
                os.kill(os.getpid(), signal.SIGKILL)
            return super().label(row)

    monkeypatch.setattr(engine, "_Actor", Deadly)
    bomb = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(bomb)
    given = [*rows[:2], {"id": "bomb", "uri": str(bomb)}]
    given += [{"id": name, "uri": rows[0]["uri"]} for name in ("deadly", "unreadable")]
    found = engine.label([*given, *rows[1:4]], "bundled", str(tmp_path / "out"), overlay=False)
    status = {one["id"]: one for one in found}
    assert len(found) == len(status) == 7
    for name in ("deadly", "unreadable"):
        assert "actors died while working on it" in status.pop(name)["error"]
    assert "more than the limit" in status.pop("bomb")["error"]
    assert {one["status"] for one in status.values()} == {"ok"}
    assert set(outputs(tmp_path / "out")) == {one["labels"] for one in status.values()}


@pytest.mark.release
def test_actors_that_cannot_start_end_the_run(cluster, rows, tmp_path, monkeypatch):
    from upscore.prediction import ray as engine

    monkeypatch.setattr(engine, "_FAILED_STARTS", 2)  # each takes seconds
    with pytest.raises(RunError, match="cannot start"):
        engine.label(rows, str(tmp_path / "no-model"), str(tmp_path))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray Data's, of its own settings
@pytest.mark.release
def test_a_dataset_of_ray(cluster, rows, tmp_path):
    pytest.importorskip("pyarrow")
    import ray.data

    from upscore.prediction import ray as engine

    dataset = ray.data.from_items(rows[:3]).map(lambda row: row | {"more": 1})  # needs a CPU
    found = engine.label(dataset, "bundled", str(tmp_path), overlay=False).take_all()
    assert sorted(one["id"] for one in found) == sorted(row["id"] for row in rows[:3])
    assert len(list((tmp_path / "labels").iterdir())) == 3


@pytest.mark.release
def test_a_driver_that_was_killed_is_run_again(cluster, manifest, alone, rows, tmp_path):
    from upscore.prediction import ray as engine

    out = tmp_path / "out"
    command = [sys.executable, "-c", DRIVER, str(manifest), str(out), cluster.address]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert wait_for(out, 4) < len(rows) - 4  # in mid-run
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert not (out / "status.jsonl").exists()
    engine.predict_rows([str(manifest)], str(out), "bundled")
    assert finished(out) == alone


def test_a_lost_node_changes_nothing(cluster, manifest, alone, rows, tmp_path):
    """The last test of the cluster: it ends with one node."""
    from upscore.prediction import ray as engine

    out, lost = tmp_path / "out", []

    def lose():
        lost.append(wait_for(out, 4))
        cluster.remove_node(cluster.extra, allow_graceful=False)

    thread = threading.Thread(target=lose)
    thread.start()
    found = engine.predict_rows([str(manifest)], str(out), "bundled")
    thread.join()
    assert lost[0] < len(rows) - 4  # in mid-run
    assert {one["status"] for one in found} == {"ok"}
    assert sorted(one["id"] for one in found) == sorted(row["id"] for row in rows)
    assert len((out / "status.jsonl").read_bytes().splitlines()) == len(rows)
    assert finished(out) == alone
