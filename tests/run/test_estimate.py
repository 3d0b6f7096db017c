"""How long a run will take: measured on a few steps, told before it starts, with advice beyond a day."""

import dataclasses
from pathlib import Path

import pytest
import torch
from helpers import image_tree, weights, write_recipe

from trainer.errors import RunError
from trainer.run import estimate, plan_teacher, prepare_data, run_student, steps, student_recipe
from trainer.run.estimate import DAY, estimate_run, told


@pytest.fixture
def parts(tmp_path):
    """A recipe and what is known of its run before anything is trained."""
    path = write_recipe(tmp_path, dataset=str(image_tree(tmp_path / "images")), output_dir=str(tmp_path / "out"))
    recipe = student_recipe(path)
    return plan_teacher(recipe), recipe, prepare_data(recipe.data, recipe.training)


def test_stages_in_their_order_and_in_proportion_to_epochs(parts, monkeypatch):
    """2 ms to load and 3 ms to learn an image: 26 training images, 9 test images, two tests (last, EMA)."""
    monkeypatch.setattr(estimate, "_seconds_per_image", lambda *args: (0.002, 0.003))
    seconds = estimate_run(*parts, checkpoint=None)
    assert list(seconds) == ["teacher", "check", "student", "tests"]
    assert seconds["teacher"] == pytest.approx(12 * 26 * 0.005)
    assert seconds["student"] == pytest.approx(3 * 26 * 0.005)
    assert seconds["tests"] == pytest.approx(2 * 9 * 0.003)
    assert seconds["check"] == pytest.approx(1024 * 0.003)


def test_real_steps_change_nothing_of_the_run(parts):
    """The networks are thrown away: a student that is trained after an estimate is the one without."""
    seconds = estimate_run(*parts, checkpoint=None)
    assert all(value > 0 for value in seconds.values())
    assert not Path(parts[1].training.output_dir, "history.jsonl").exists()
    trained = []
    for name, seen in (("with", estimate_run), ("without", lambda *args: {})):
        given = {"output_dir": f"{parts[1].training.output_dir}_{name}", "quiet": True}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(steps, "estimate_run", seen)
            trained.append(run_student(replace_output(parts[1], given)).model)
    assert torch.equal(weights(trained[0]), weights(trained[1]))


def replace_output(recipe, given):
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **given))


def test_beyond_a_day_it_says_what_to_change(parts):
    recipe = parts[1]
    assert told({"student": 50.0}, recipe) == "This will take about 50 s on this machine (student 50 s)."
    text = told({"teacher": DAY, "student": DAY}, recipe)
    assert "about 48 h on this machine (teacher 24 h, student 24 h)" in text
    assert "deit-lt finetune imagefolder_cpu --dataset" in text
    assert "--num_train_epochs" in text


def test_a_batch_that_does_not_fit_is_refused_before_anything_is_trained(parts, monkeypatch):
    def too_large(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.Tensor, "backward", too_large)
    with pytest.raises(RunError, match=r"a batch of 7 images does not fit .*gradient_accumulation_steps"):
        estimate_run(*parts, checkpoint=None)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "ldam", "drw_start_epoch": 1},
        {"loss": "paco", "paco_queue": 32, "second_transform": "affine"},
        {"loss": "cross_entropy", "sam_rho": [0.1], "image_pipeline": "device", "train_transform": "crop_flip"},
    ],
)
def test_every_kind_of_teacher_has_an_estimate(parts, settings):
    _, recipe, data = parts
    args = dataclasses.replace(recipe.teacher.training, **settings)
    assert estimate.estimate_teacher(args, data) > 0


def test_a_divided_network_has_none(parts, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert estimate_run(*parts, checkpoint=None) == {}
