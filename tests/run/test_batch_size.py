"""auto_find_batch_size: a batch that fits, the same learning rate and steps, and a resumed run that keeps it.

There is no GPU here, so the student refuses to learn from more images at once than its pretended memory holds.
"""

import json
import re
from pathlib import Path

import pytest
import torch
from helpers import arguments, history, image_tree, tiny_student, weights, write_recipe

from modeling_deit_lt import DeiTLTForImageClassification
from trainer.errors import CheckpointError, DeiTLTError, RunError, SettingError
from trainer.run import batch_size, run_student, student_recipe
from trainer.run.batch_size import batch_that_fits, halved, steps_of_epoch
from trainer.run.estimate import BatchTooLarge
from trainer.trainer import DeiTLTTrainer

IMAGES = 26
SEARCH = {"teacher": "none", "per_device_train_batch_size": 16, "auto_find_batch_size": True, "save_steps": 1}


@pytest.fixture
def memory(monkeypatch):
    """Sets how many images a training step may hold; returns the sizes that were tried."""
    forward, held, tried = DeiTLTForImageClassification.forward, {"images": 10**6}, []

    def limited(model, pixel_values=None, **kwargs):
        if model.training:
            tried.append(len(pixel_values))
            if len(pixel_values) > held["images"]:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(model, pixel_values, **kwargs)

    monkeypatch.setattr(DeiTLTForImageClassification, "forward", limited)

    def hold(images):
        held["images"] = images
        return tried

    return hold


@pytest.fixture
def recipe(tmp_path):
    """Makes a recipe of 26 images."""
    images = str(image_tree(tmp_path / "images"))
    file = write_recipe(tmp_path, dataset=images, **SEARCH)
    return lambda name="out", **given: student_recipe(file, {"output_dir": str(tmp_path / name), **given})


def test_what_fits_has_the_learning_rate_and_the_steps_that_were_asked_for(recipe, memory, capsys, tmp_path):
    asked, tried = recipe(), memory(5)
    run = run_student(asked)
    assert max(tried[tried.index(4) :]) == 4  # once it was found, no larger one was tried
    args = run.recipe.training
    assert (args.train_batch_size, args.gradient_accumulation_steps, args.global_batch_size) == (4, 4, 16)
    assert args.peak_learning_rate == asked.training.peak_learning_rate
    assert history(tmp_path / "out")[-1]["step"] == 3 * 2  # 26 images in batches of 16
    assert not args.auto_find_batch_size  # Trainer has a search of its own, which would change the learning rate
    assert asked.training.auto_find_batch_size
    files = [tmp_path / "out" / f"{name}.json" for name in ("metrics", "settings")]
    metrics, settings = (json.loads(file.read_text()) for file in files)
    assert (metrics["per_device_train_batch_size"], metrics["gradient_accumulation_steps"]) == (4, 4)
    assert settings["found"] == {"train_batch_size of all ranks": 4, "gradient_accumulation_steps": 4}
    assert settings["settings"] == asked.asked["settings"]
    told = capsys.readouterr().out
    assert "The memory of the device holds 4 images at a time; with gradient_accumulation_steps 4" in told
    assert "batch 4 x 4 accumulated x 1 rank(s) = 16" in " ".join(told.split())


def test_a_batch_that_fits_is_left_as_it_is(recipe, memory, tmp_path):
    """The run is the one without the search, bit for bit."""
    memory(16)
    found = run_student(recipe("found"))
    plain = run_student(recipe("plain", auto_find_batch_size=False))
    assert torch.equal(weights(found.model), weights(plain.model))
    assert found.recipe.training.gradient_accumulation_steps == 1
    assert "found" not in json.loads((tmp_path / "plain" / "settings.json").read_text())


@pytest.mark.slow
def test_a_resumed_run_keeps_what_was_found(recipe, memory, monkeypatch, tmp_path):
    """Also on a device that could hold more, with the flag and without: what is learned depends on the batch."""
    memory(5)
    whole = run_student(recipe("whole"))
    step = DeiTLTTrainer.training_step

    def stop(trainer, *args, **kwargs):
        trainer.control.should_training_stop = trainer.state.global_step >= limit
        return step(trainer, *args, **kwargs)

    for limit, flag in ((1, True), (3, False)):
        with monkeypatch.context() as patch:
            patch.setattr(DeiTLTTrainer, "training_step", stop)
            again = {} if limit == 1 else {"resume_from_checkpoint": "true"}
            with pytest.raises(RunError, match="the training was stopped"):
                run_student(recipe(auto_find_batch_size=flag, **again))
        memory(100)
        assert "found" in json.loads((tmp_path / "out" / "settings.json").read_text())
    resumed = run_student(recipe(resume_from_checkpoint="true"))
    assert torch.equal(weights(resumed.model), weights(whole.model))
    assert (tmp_path / "out" / "settings.json").read_text() == (tmp_path / "whole" / "settings.json").read_text()


def test_a_run_that_was_begun_without_the_search_goes_on_without(recipe, monkeypatch):
    run_student(recipe(auto_find_batch_size=False, num_train_epochs=3))
    asked = recipe(resume_from_checkpoint="true")
    Path(asked.training.output_dir, "metrics.json").unlink()
    with pytest.raises(CheckpointError, match="was begun without auto_find_batch_size; leave it out"):
        run_student(asked)


@pytest.mark.parametrize(
    ("holds", "given", "message"),
    [
        (1, {}, "batches of 2 images do not fit .*set gradient_checkpointing, a smaller preset"),
        (4, {"per_device_train_batch_size": 10}, "batches of 5 images do not fit .*set .* to a power of 2"),
        (4, {"per_device_train_batch_size": 7}, "batches of 7 images do not fit .*set .* to a power of 2"),
        # 24 of 26 images are 3 steps of 8, which is 24 of 26 in fours, and all 26 in pairs.
        (
            2,
            {"per_device_train_batch_size": 8, "drop_partial_batches": True, "repeats": 1},
            "have 4 steps in place of 3",
        ),
        (4, {"auto_find_batch_size": False}, "lower per_device_train_batch_size .*or set auto_find_batch_size"),
    ],
)
def test_a_batch_that_cannot_be_halved_is_refused_before_anything_is_trained(recipe, memory, holds, given, message):
    memory(holds)
    with pytest.raises(RunError, match=message) as refusal:
        run_student(recipe(teacher="teacher.yaml", **given))
    assert "\n" not in str(refusal.value)
    assert not list(Path(recipe().training.output_dir).parent.glob("teachers/*"))


def test_every_half_has_the_steps_of_the_whole(recipe):
    whole = recipe()
    for images in range(3, 200, 7):
        half, steps = whole, steps_of_epoch(whole, images)
        while half.training.train_batch_size > 2:
            half = halved(half, images)
            assert half.training.global_batch_size == 16
            assert steps_of_epoch(half, images) == steps


def test_all_ranks_take_what_the_smallest_holds(recipe, monkeypatch):
    """This rank could hold the first; another one cannot hold the first two."""
    others = iter([None, None, {}])
    monkeypatch.setattr(batch_size, "gather_object", lambda own: [*own, next(others)])
    tried = []

    def try_steps(one):
        tried.append(one.training.train_batch_size)
        return {"a": 1}

    found, seconds = batch_that_fits(recipe(), IMAGES, try_steps)
    assert tried == [16, 8, 4]
    assert (found.training.train_batch_size, seconds) == (4, {"a": 1})


def test_a_teacher_that_does_not_fit_is_no_reason_to_halve(recipe, monkeypatch):
    def too_large(*args):
        raise RunError("a batch of 7 images does not fit")

    monkeypatch.setattr("trainer.run.estimate.estimate_teacher", too_large)
    with pytest.raises(RunError, match=r"^teacher: a batch of 7") as refusal:
        run_student(recipe(teacher="teacher.yaml"))
    assert not isinstance(refusal.value, BatchTooLarge)


def test_a_divided_network_is_refused_before_data_are_read(recipe, monkeypatch):
    monkeypatch.setattr(batch_size, "is_sharded", lambda args: True)
    monkeypatch.setattr("trainer.run.steps.prepare_data", lambda *args, **kwargs: pytest.fail("data were read"))
    with pytest.raises(DeiTLTError, match=re.escape("with FSDP or DeepSpeed set per_device_train_batch_size")):
        run_student(recipe())


def test_a_trainer_alone_refuses_it(tmp_path):
    """Trainer's own search would halve the global batch too."""
    with pytest.raises(SettingError, match="auto_find_batch_size is for `deit-lt finetune`"):
        DeiTLTTrainer(tiny_student(), arguments(tmp_path, auto_find_batch_size=True))
