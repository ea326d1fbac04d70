"""The nnU-Net contender of benchmarks/training.py.

nnU-Net v2 runs by its own commands in an environment of its own, since it needs another timm than
upscore: `nnunet/requirements.txt` pins it. The 2-D configuration with its default plans, on the
CPU. All labelled photos, those of val/ too, are trained on (fold "all"). The trainer is
`nnunet/timed_trainer.py`; planning and preprocessing are not on the clock. Prediction is by its
defaults: sliding windows, averaged over mirrored views.

JPEGs are rewritten as PNG, as nnU-Net asks. Grey photos have one channel. Void is its ignore label,
which must be the highest id. It insists that class 0 be called background, and leaves that class
out of its Dice loss, not out of its cross-entropy.

Its augmentation draws from the system: a run cannot be repeated exactly, whatever the seed.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from _training_sets import SETS, class_names, mask_of, photos
from upscore import images

HERE = Path(__file__).parent / "nnunet"
TRAINER = "TimedTrainer"
CONFIGURATION, FOLD = "2d", "all"
VOID = 255


def environment(work: Path) -> Path:
    return work / "nnunet" / "venv"


def command(work: Path, name: str) -> str:
    """The path of one of nnU-Net's commands."""
    return str(environment(work) / "bin" / f"nnUNetv2_{name}")


def install(work: Path, log: Path) -> None:
    """Make the environment, unless there is one with the packages of requirements.txt."""
    done = environment(work) / "installed"
    listed = HERE / "requirements.txt"
    if done.exists() and done.read_text() == listed.read_text():
        return
    uv, python = [sys.executable, "-m", "uv"], str(environment(work) / "bin" / "python")
    logged([*uv, "venv", "--clear", "--python", sys.executable, str(environment(work))], log)
    logged([*uv, "pip", "install", "--python", python, "-r", str(listed)], log)
    shutil.copyfile(listed, done)


def logged(command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
    with log.open("ab") as file:
        subprocess.run(command, env=env, stdout=file, stderr=file, check=True)


def folders(work: Path, results: Path) -> dict[str, str]:
    """The variables that tell nnU-Net where things are, with the environment as it is."""
    cores = str(len(os.sched_getaffinity(0)))
    return os.environ | {
        "nnUNet_raw": str(work / "nnunet" / "raw"),
        "nnUNet_preprocessed": str(work / "nnunet" / "preprocessed"),
        "nnUNet_results": str(results),
        "nnUNet_extTrainer": str(HERE),
        "nnUNet_def_n_proc": cores,
        "nnUNet_npp": cores,
        "nnUNet_nps": cores,
    }


def dataset_name(name: str) -> str:
    return f"Dataset{1 + list(SETS).index(name):03}_{name}"


def prepare(work: Path, data: Path, log: Path) -> None:
    """Install nnU-Net, write a set as it wants it, let it plan and preprocess: each once."""
    install(work, log)
    name = dataset_name(data.name)
    done = work / "nnunet" / f"{name} is prepared"
    if done.exists():
        return
    write_raw(data, work / "nnunet" / "raw" / name)
    shutil.rmtree(work / "nnunet" / "preprocessed" / name, ignore_errors=True)
    cores = str(len(os.sched_getaffinity(0)))
    plan = [command(work, "plan_and_preprocess"), "-d", str(int(name[7:10])), "-c", CONFIGURATION]
    options = ["--verify_dataset_integrity", "-np", cores, "-npfp", cores]
    logged([*plan, *options], log, folders(work, work / "nnunet" / "results"))
    done.touch()


def write_raw(data: Path, raw: Path) -> None:
    """imagesTr, labelsTr, imagesTs and dataset.json."""
    shutil.rmtree(raw, ignore_errors=True)
    for each in ("imagesTr", "labelsTr", "imagesTs"):
        (raw / each).mkdir(parents=True)
    names = class_names(data)
    labelled = [
        (split, *item) for split in ("train", "val") for item in photos(data, split).items()
    ]
    grey = all(Image.open(path).mode == "L" for _, _, path in labelled)
    has_void = False
    for split, name, path in labelled:
        write_photo(path, raw / "imagesTr" / f"{split}_{name}_0000.png", grey=grey)
        mask = np.asarray(Image.open(mask_of(data, split, name)))
        has_void |= bool((mask == VOID).any())
        ids = np.where(mask == VOID, len(names), mask).astype(np.uint8)
        Image.fromarray(ids).save(raw / "labelsTr" / f"{split}_{name}.png")
    for name, path in photos(data, "test").items():
        write_photo(path, raw / "imagesTs" / f"{name}_0000.png", grey=grey)
    labels = {"background": 0} | {name: i for i, name in enumerate(names) if i}
    if has_void:
        labels["ignore"] = len(names)
    description = {
        "channel_names": {"0": "grey"} if grey else {"0": "R", "1": "G", "2": "B"},
        "labels": labels,
        "numTraining": len(labelled),
        "file_ending": ".png",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
    }
    (raw / "dataset.json").write_text(json.dumps(description, indent=1))


def write_photo(path: Path, to: Path, *, grey: bool) -> None:
    photo = Image.fromarray(images.read(path))  # as upscore sees it
    photo.convert("L" if grey else "RGB").save(to)


def training(work: Path, data: Path, run: Path) -> tuple[list[str], dict[str, str]]:
    """The command that is on the clock, and its environment."""
    train = [command(work, "train"), dataset_name(data.name), CONFIGURATION, FOLD]
    return [*train, "-tr", TRAINER, "-device", "cpu"], folders(work, run)


def prediction(work: Path, data: Path, run: Path, labels: Path) -> tuple[list[str], dict[str, str]]:
    """The command that writes the label maps, and its environment."""
    name = dataset_name(data.name)
    photos_in = work / "nnunet" / "raw" / name / "imagesTs"
    predict = [command(work, "predict"), "-d", name, "-i", str(photos_in), "-o", str(labels)]
    options = ["-c", CONFIGURATION, "-f", FOLD, "-tr", TRAINER, "-device", "cpu"]
    return [*predict, *options], folders(work, run)


def facts(run: Path) -> dict[str, Any]:
    """What the trainer wrote."""
    (path,) = run.rglob("facts.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found
