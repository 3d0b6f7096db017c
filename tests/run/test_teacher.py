"""The teacher of a run: when it is trained, when it is reused, and when its folder is refused."""

import contextlib
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import timm
from datasets import DatasetDict
from helpers import TEACHER, picture_dataset, write_recipe

from trainer.arguments import DataArguments
from trainer.errors import RunError
from trainer.run import RunData, obtain_teacher, plan_teacher, student_recipe
from trainer.run.progress import Progress
from trainer.run.teacher import is_complete, teacher_digest
from trainer.teachers.arguments import TeacherArguments


def run_data(counts=(12, 8, 6), **settings):
    splits = DatasetDict(train=picture_dataset(counts), test=picture_dataset((3, 3, 3)))
    return RunData(splits, DataArguments(dataset="pictures", **settings))


def obtain(recipe_file, data=None, **given):
    """What the second step of a run gives, and the lines that are no logs."""
    recipe = student_recipe(recipe_file, {"output_dir": str(recipe_file.parent / "runs" / "out"), **given})
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        teacher = obtain_teacher(plan_teacher(recipe), recipe, data or run_data(), Progress(recipe.training))
    return teacher, [line for line in printed.getvalue().splitlines() if line.startswith("Training")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return write_recipe(folder), *obtain(write_recipe(folder))


def test_no_teacher_is_none(tmp_path):
    assert obtain(write_recipe(tmp_path), teacher="none") == (None, [])


def test_it_is_trained_beside_the_student_and_says_what_it_is(trained):
    recipe, teacher, said = trained
    folder = Path(teacher.name)
    assert folder.parent == recipe.parent / "runs" / "teachers"
    assert said == [f"Training the teacher teacher in {folder}"]
    assert is_complete(folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["teacher"] == teacher.figures
    assert metrics["teacher"]["accuracy"] > 50  # chance is 33
    assert (metrics["architecture"], metrics["loss"], metrics["epochs"]) == ("resnet8_cifar", "cross_entropy", 12)
    assert (metrics["class_counts"], metrics["data"]["dataset"]) == ([12, 8, 6], "pictures")
    assert folder.name == f"teacher-{metrics['digest']}"


def test_a_comment_or_another_order_of_lines_reuses_it(trained):
    recipe, teacher, _ = trained
    file = recipe.parent / "teacher.yaml"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(["# a remark", *reversed(lines), ""]))
    again, said = obtain(recipe)
    assert (again.name, again.figures, said) == (teacher.name, teacher.figures, [])
    # A default that is written down is the same setting too.
    file.write_text(file.read_text() + "momentum: 0.9\n")
    assert obtain(recipe)[1] == []
    # How it is watched changes nothing, nor do the student's own settings.
    assert obtain(recipe, alpha=0.1, logging_steps=3, dataloader_num_workers=1)[1] == []


def test_another_teacher_for_whatever_its_weights_depend_on(monkeypatch, tmp_path):
    args, data = TeacherArguments(output_dir="a", use_cpu=True), run_data()
    digest = teacher_digest(args, data)
    # Values count, wherever they come from: the recipe, a flag or a default.
    for change in ({"seed": 1}, {"max_margin": 0.6}, {"bf16": True}, {"per_device_train_batch_size": 9}):
        assert teacher_digest(dataclasses.replace(args, **change), data) != digest
    assert teacher_digest(dataclasses.replace(args, output_dir="b", logging_steps=3), data) == digest
    # BatchNorm sees halves of the same batch of 8, TrainingArguments' default.
    halves = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    assert teacher_digest(dataclasses.replace(args, **halves), data) != digest
    assert teacher_digest(args, run_data(rho=2)) != digest
    monkeypatch.setattr("trainer.run.teacher.TRAINING_VERSION", 99)
    assert teacher_digest(args, data) != digest


def test_corrected_labels_are_other_images():
    """With the same path and the same class counts."""
    data = run_data()
    labels = np.array(data.train["label"])
    first, last = np.flatnonzero(labels == 0)[0], np.flatnonzero(labels == 2)[0]
    labels[first], labels[last] = 2, 0
    corrected = data.train.remove_columns("label").add_column("label", labels.tolist())
    corrected = corrected.cast_column("label", data.train.features["label"])
    other = RunData(DatasetDict(train=corrected, test=data.splits["test"]), data.settings)
    assert other.counts == data.counts
    assert other.digest != data.digest


def test_a_folder_of_another_teacher_is_refused(trained):
    recipe, teacher, _ = trained
    with pytest.raises(RunError, match="other images, other settings or another version") as refusal:
        obtain(recipe, seed=3, teacher_output_dir=teacher.name)
    assert f"--teacher {teacher.name}" in str(refusal.value)
    loaded, _ = obtain(recipe, seed=3, teacher=teacher.name)
    assert (loaded.name, loaded.figures) == (teacher.name, None)


def test_one_that_was_cut_off_goes_on(tmp_path, monkeypatch):
    """Killed between its last checkpoint and its figures; another run with the same recipe takes it up."""
    recipe = write_recipe(tmp_path)
    (tmp_path / "teacher.yaml").write_text(json.dumps({**TEACHER, "save_strategy": "epoch"}))
    teacher, _ = obtain(recipe)
    whole = timm.create_model(f"local-dir:{teacher.name}", pretrained=True).state_dict()
    for name in ("metrics.json", "model.safetensors"):
        Path(teacher.name, name).unlink()
    again, said = obtain(recipe)
    assert len(said) == 1
    assert again.figures == teacher.figures
    resumed = timm.create_model(f"local-dir:{again.name}", pretrained=True).state_dict()
    assert all((resumed[name] == weight).all() for name, weight in whole.items())


def test_another_run_that_trained_it_meanwhile_is_noticed(trained, monkeypatch):
    """The folder is complete once the lock is free, so nothing is trained twice."""
    import trainer.run.teacher as module

    recipe, teacher, _ = trained
    looks, finished = [], module._finished

    def not_at_first(folder, digest):
        looks.append(folder)
        return None if len(looks) == 1 else finished(folder, digest)

    monkeypatch.setattr(module, "_finished", not_at_first)
    monkeypatch.setattr(module, "train_teacher", lambda *args, **kwargs: pytest.fail("it trained again"))
    again, said = obtain(recipe)
    assert (len(looks), said, again.figures) == (2, [], teacher.figures)
