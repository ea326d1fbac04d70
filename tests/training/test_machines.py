"""Two machines on loopback that share no disk: one is lost, and its place taken by an empty one."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
import torch
from training_worker import TINY

import tiny
from upscore.models.weights import write_tensors

pytestmark = pytest.mark.slow

STEPS = 12
SECONDS = 300  # that no process here may take, on a busy machine either
SETTINGS = (
    *("encoder", "width", "pretrained", "frozen_norm", "batch_size", "crop", "precision"),
    *("encoder_rate", "decoder_rate", "ema"),
)
OPTIONS = {name: getattr(TINY, name) for name in SETTINGS} | {"steps": STEPS, "evaluate_every": 3}
# Two runs, the second to be killed in its middle: most of the time goes into importing torch.
TRAIN = """
import json, sys
import upscore
from accelerate import Accelerator
Accelerator.end_training = lambda _: None  # it would take the processes apart after the first run
data, options, *folders = sys.argv[1:]
for folder in folders:
    upscore.train(data, folder, workers=0, log=(), **json.loads(options))
"""


class Pair:
    """Two commands that run at once and end with the test, and whatever they started."""

    def __init__(self, commands, logs, environments=({}, {})):
        common = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": "lo"}
        self.logs, self.processes = logs, []
        for command, log, own in zip(commands, logs, environments, strict=True):
            with log.open("w") as file:
                process = subprocess.Popen(
                    [sys.executable, *command],
                    env={**os.environ, **common, **own},
                    stdout=file,
                    stderr=file,
                )
            self.processes.append(process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for node in range(2):
            self.kill(node)

    def kill(self, node):
        """All processes of a machine at once, as when its power is cut."""
        if self.processes[node].poll() is None:
            agent = psutil.Process(self.processes[node].pid)
            for process in (*agent.children(recursive=True), agent):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self.processes[node].wait()

    def codes(self):
        return [process.wait(timeout=SECONDS) for process in self.processes]

    def texts(self):
        return [" ".join(log.read_text().split()) for log in self.logs]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """Two machines' own copies of the same data."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    for folder in folders:
        tiny.data_set(folder / "photos", train=4, val=3, void=8)
    return folders


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def torchrun(nodes, log, *arguments):
    """A command on both machines; `{}` in its arguments is the machine's own folder."""
    port = free_port()
    start = ("-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--no-python")
    where = ("--master-addr=127.0.0.1", f"--master-port={port}")
    commands = [
        (*start, f"--node-rank={i}", *where, "--", sys.executable, *own)
        for i, own in enumerate(
            [argument.replace("{}", str(node)) for argument in arguments] for node in nodes
        )
    ]
    return Pair(commands, [node / log for node in nodes])


def step_of(run):
    try:
        return json.loads((run / "state" / "state.json").read_text())["step"]
    except FileNotFoundError:
        return -1


def weights(folders):
    """The names of weights, which are hashes of their content."""
    return [
        sorted(path.name for name in ("best", "last", "state") for path in folder.glob(f"{name}/*"))
        for folder in folders
    ]


def test_a_lost_machine_gets_the_run_from_the_other(nodes):
    lost, left = runs = [node / "killed" for node in nodes]
    folders = ("{}/whole", "{}/killed")
    with torchrun(nodes, "1.log", "-c", TRAIN, "{}/photos", json.dumps(OPTIONS), *folders) as pair:
        deadline = time.monotonic() + SECONDS
        while step_of(left) < 3:
            assert pair.processes[1].poll() is None, pair.texts()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        pair.kill(0)  # the first, to which all others connect
        assert pair.codes()[1] != 0  # the other ends by itself
    expected = weights([node / "whole" for node in nodes])
    assert expected[0] == expected[1]
    assert len(expected[0]) == 3 + 3 + 2  # JSON and tensors, and the graph of checkpoints
    shutil.rmtree(lost)
    assert 3 <= step_of(left) < STEPS
    # A note in the table of the one that is left tells afterwards where both went on from.
    path = left / "state" / "state.json"
    state = json.loads(path.read_text())
    state["history"][0]["loss"] = 123.0
    path.write_text(json.dumps(state))

    command = ("-m", "upscore", "train", "{}/photos", "-o", "{}/killed", "--resume")
    with torchrun(nodes, "2.log", *command, "--workers=0", "--log=none") as pair:
        assert pair.codes() == [0, 0], pair.texts()
    assert weights(runs) == expected
    tables = [(run / "metrics.csv").read_text() for run in runs]
    assert "123.0" in tables[0]
    assert tables[0] == tables[1]


SHARE = """
import sys
from pathlib import Path
import upscore
from upscore.errors import RunError
from upscore.training.machines import keeps, share_run
data, *folders = map(Path, sys.argv[1:])
for folder in folders:
    try:
        share_run(folder)
        print(folder.name, keeps(folder))
    except RunError as error:
        print(folder.name, "RunError", error)
upscore.train(data, data.parent / "differ", steps=1)
"""


def write_run(folder, step, photos=("a",)):
    """The files of a run as far as they count here; what they hold tells the step."""
    description = {"recipe": {"steps": 9}, "photos": photos, "step": step}
    write_tensors(folder / "state", "state", {"x": torch.full((3,), step)}, description)
    write_tensors(folder / "best", "model", {"x": torch.full((3,), step)}, {})
    (folder / "plan.json").write_text("{}")


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_newest_run_goes_to_all_and_other_data_end_all(nodes, tmp_path):
    first, second = both = (tmp_path / "first", tmp_path / "second")
    write_run(second / "empty", 5)
    write_run(first / "older", 6)
    write_run(second / "older", 3)
    write_run(first / "damaged", 9)
    next((first / "damaged" / "state").glob("*.safetensors")).write_bytes(b"half of i")
    write_run(second / "damaged", 7)
    (second / "planned").mkdir()
    (second / "planned" / "plan.json").write_text("{}")
    write_run(first / "another", 2)
    write_run(second / "another", 4, photos=("b",))
    newest = {"empty": second, "older": first, "damaged": second, "planned": second}
    names = (*newest, "another", "new")
    before = {(node, name): files(node / name) for node in both for name in names}
    for node, own in zip(nodes, both, strict=True):
        shutil.copytree(node / "photos", own / "photos")
    for part in ("images", "masks"):
        folder = second / "photos" / "train" / part
        (folder / "3.png").rename(folder / "4.png")

    common = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    commands = [
        ("-c", SHARE, *(str(node / name) for name in ("photos", *names)), str(tmp_path / "shared"))
        for node in both
    ]
    logs = [node / "log" for node in both]
    with Pair(commands, logs, [common | {"RANK": rank} for rank in "01"]) as pair:
        assert pair.codes() == [1, 1], pair.texts()
    for node in both:
        for name, winner in newest.items():
            assert files(node / name).items() >= before[winner, name].items() > set(), name
        assert files(node / "another") == before[node, "another"]
        assert not files(node / "new")
    for text, keeps_shared in zip(pair.texts(), (True, False), strict=True):
        for name in (*newest, "new"):
            assert f"{name} True" in text
        assert "another RunError" in text
        assert f"shared {keeps_shared}" in text
        assert "differ in the photos to learn from: 2 of one are not on the other" in text
