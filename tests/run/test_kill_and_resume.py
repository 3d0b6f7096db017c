"""A run that is killed with SIGKILL and resumed ends as one that was left alone: weights, reports and files."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers import TEACHER, image_tree, write_recipe
from safetensors.torch import load_file

WORKER = Path(__file__).with_name("kill_worker.py")
STUDENT, TEACHER_TRAINER = "trainer.trainer:DeiTLTTrainer", "trainer.teachers.trainer:TeacherTrainer"

# Teacher: 18 images in batches of 7, 3 steps an epoch, a checkpoint each. Student: 3 epochs of 3 steps, DRW in the
# last, a checkpoint and an evaluation every 2 steps; torch.save is called four times a checkpoint.
KILLS = [
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
    (f"{STUDENT}.predict", 2),  # between the model and its figures
    ("trainer.run.results:write_json", 1),  # between the model card and metrics.json, the last file
]
TIMES = ("wall_seconds", "images_per_second", "resumed_from_step")


def start(folder, *words):
    """Run a Python file on the folder's recipe."""
    command = [sys.executable, *map(str, words), "recipe.yaml", "--output_dir=out"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    told = process.communicate(timeout=300)
    assert process.returncode == 0, told[1]


def prepare(folder, images):
    settings = {"model_selection": "validation", "validation_fraction": 0.3, "save_steps": 2, "save_total_limit": 2}
    recipe = write_recipe(folder, dataset=str(images), seed=4, drop_path_rate=0.2, **settings)
    teacher = {**TEACHER, "num_train_epochs": 4, "warmup_epochs": 1, "save_strategy": "epoch", "save_total_limit": 2}
    (folder / "teacher.yaml").write_text(yaml.safe_dump(teacher))
    return recipe


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    images = image_tree(folder / "images")
    prepare(folder, images)
    finish(start(folder, "-m", "trainer.commands", "finetune"))
    return folder, images


def files(folder):
    """All files of a student and its teacher; the README has seconds in it."""
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


@pytest.mark.slow
@pytest.mark.parametrize(("place", "call"), KILLS)
def test_killed_once_it_ends_as_if_left_alone(left_alone, tmp_path, place, call):
    alone, images = left_alone
    prepare(tmp_path, images)
    killed = start(tmp_path, WORKER, place, call)
    killed.communicate(timeout=300)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / "metrics.json").exists()
    finish(start(tmp_path, "-m", "trainer.commands", "finetune", "--resume_from_checkpoint=true"))
    assert files(tmp_path) == files(alone)
    for name in files(alone):
        ours, theirs = tmp_path / name, alone / name
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
