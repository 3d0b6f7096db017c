"""A run that is killed with SIGKILL and resumed ends as one that was left alone: weights, reports and files."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from helpers import TEACHER, image_tree, write_recipe
from safetensors.torch import load_file

WORKER = Path(__file__).with_name("kill_worker.py")
STUDENT, TEACHER_TRAINER = "trainer.trainer:DeiTLTTrainer", "trainer.teachers.trainer:TeacherTrainer"

# Teacher: 18 images in batches of 7, 3 steps an epoch, a checkpoint each. Student: 3 epochs of 3 steps, DRW in the
# last, a checkpoint and an evaluation every 2 steps; torch.save is called three times a checkpoint.
PLACES = [
    (f"{TEACHER_TRAINER}.training_step", 2),  # before its first checkpoint
    (f"{TEACHER_TRAINER}.training_step", 11),
    ("torch:save", 7),  # while a teacher's checkpoint is written
    ("trainer.run.teacher:write_json", 1),  # between a teacher and its figures
    (f"{STUDENT}.training_step", 2),  # before the first checkpoint
    (f"{STUDENT}.training_step", 6),  # in the middle of an epoch
    (f"{STUDENT}.training_step", 8),  # in DRW, when the first checkpoints have rotated away
    (f"{STUDENT}.prediction_step", 3),  # in an evaluation
    ("trainer.callbacks:save_file", 3),  # while a student's checkpoint is written, before its weight average
    ("trainer.trainer:DeiTLTTrainer._save_rng_state", 4),  # and after its optimiser
    (f"{STUDENT}.test", 2),  # between the model and its figures
    ("trainer.run.results:write_json", 1),  # between the model card and metrics.json, the last file
]
MOMENTS = 13  # drawn from the time that the run left alone took after its imports
TEACHERS = {  # the second one with a momentum encoder and a queue, and SAM
    "cross_entropy": {},
    "paco": {"loss": "paco", "second_transform": "affine", "paco_dim": 8, "paco_queue": 16, "sam_rho": [0.05]},
}
TIMES = ("wall_seconds", "images_per_second", "resumed_from_step")


def start(folder, *words):
    """Run a Python file on the folder's recipe."""
    command = [sys.executable, *map(str, words), "recipe.yaml", "--output_dir=out"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finetune(folder, *flags):
    return start(folder, "-m", "trainer.commands", "finetune", *flags)


def resuming(folder):
    """The flag that a run needs that has a folder; an earlier kill leaves none."""
    return ["--resume_from_checkpoint=true"] if (folder / "out").is_dir() else []


def finish(process):
    told = process.communicate(timeout=300)
    assert process.returncode == 0, told[1]


def prepare(folder, images, loss="cross_entropy"):
    settings = {"model_selection": "validation", "validation_fraction": 0.3, "save_steps": 2, "save_total_limit": 2}
    # Logs that are not where checkpoints are.
    write_recipe(folder, dataset=str(images), seed=4, drop_path_rate=0.2, logging_steps=3, **settings)
    teacher = {**TEACHER, "num_train_epochs": 4, "warmup_epochs": 1, "save_strategy": "epoch", "save_total_limit": 2}
    (folder / "teacher.yaml").write_text(yaml.safe_dump(teacher | TEACHERS[loss]))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return image_tree(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory, images):
    """The folder of a run with each kind of teacher, and when it began and ended to write, in seconds."""
    runs = {}
    for loss in TEACHERS:
        folder = tmp_path_factory.mktemp(loss)
        prepare(folder, images, loss)
        begin = time.monotonic()
        process = finetune(folder)
        while not (folder / "out").is_dir():
            time.sleep(0.05)
        after_imports = time.monotonic() - begin
        finish(process)
        runs[loss] = folder, after_imports, time.monotonic() - begin
    return runs


def files(folder):
    """All files of a student and its teacher."""
    return sorted(str(path.relative_to(folder)) for part in ("out", "teachers") for path in (folder / part).rglob("*"))


def history(file):
    """The rows without what a clock measured; the last one sums up what one process did."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [
        {key: value for key, value in row.items() if "runtime" not in key and "per_second" not in key}
        for row in rows
        if "train_runtime" not in row
    ]


def figures(file):
    return {key: value for key, value in json.loads(file.read_text()).items() if key not in TIMES}


def check_equal(ours_folder, theirs_folder):
    """Every file; only the model card has seconds in it, and torch's files the order of a dictionary."""
    assert files(ours_folder) == files(theirs_folder)
    for name in files(theirs_folder):
        ours, theirs = ours_folder / name, theirs_folder / name
        if ours.suffix == ".safetensors":
            found, expected = load_file(ours), load_file(theirs)
            assert found.keys() == expected.keys()
            assert all((found[key] == expected[key]).all() for key in expected), name
        elif ours.name == "metrics.json":
            assert figures(ours) == figures(theirs)
        elif ours.name == "history.jsonl":
            assert history(ours) == history(theirs)
        elif ours.suffix in (".png", ".csv", ".py") or ours.name in ("config.json", "settings.json"):
            assert ours.read_bytes() == theirs.read_bytes(), name


def cases():
    """Both teachers, none and two workers, in turn; the moments as shares of a run."""
    draw = random.Random(0)
    found = []
    for index, place in enumerate([*PLACES, *(draw.random() for _ in range(MOMENTS))]):
        loss, workers = list(TEACHERS)[index % 2], 2 * (index // 2 % 2)
        name = f"{place:.2f}" if isinstance(place, float) else f"{place[0].split(':')[1]}-{place[1]}"
        found.append(pytest.param(place, loss, workers, id=f"{name}-{loss}-{workers}"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("place", "loss", "workers"), cases())
def test_killed_once_it_ends_as_if_left_alone(left_alone, images, tmp_path, place, loss, workers):
    alone, after_imports, seconds = left_alone[loss]
    prepare(tmp_path, images, loss)
    loaders = f"--dataloader_num_workers={workers}"
    if isinstance(place, tuple):
        killed = start(tmp_path, WORKER, *place, loaders)
        killed.communicate(timeout=300)
        assert killed.returncode == -signal.SIGKILL
    else:
        killed = finetune(tmp_path, loaders)
        time.sleep(after_imports + place * (seconds - after_imports))
        killed.kill()
        killed.communicate()
    complete = (tmp_path / "out" / "metrics.json").exists()
    assert not (complete and isinstance(place, tuple))  # a moment may come after the last file
    if not complete:
        finish(finetune(tmp_path, loaders, *resuming(tmp_path)))
    check_equal(tmp_path, alone)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_if_left_alone(left_alone, images, tmp_path):
    """Ten times in a row, each time after a few seconds of work."""
    alone, after_imports, seconds = left_alone["paco"]
    prepare(tmp_path, images, "paco")
    draw = random.Random(1)
    for _ in range(10):
        process = finetune(tmp_path, *resuming(tmp_path))
        time.sleep(after_imports + draw.uniform(0.2, 0.6) * (seconds - after_imports))
        process.kill()
        process.communicate()
    if not (tmp_path / "out" / "metrics.json").exists():
        finish(finetune(tmp_path, *resuming(tmp_path)))
    check_equal(tmp_path, alone)
