"""The three steps of a run as a library: typed results, and an order in which nothing is lost."""

import json
from pathlib import Path

import pytest
import torch
from helpers import image_tree, weights, write_recipe

from trainer.checkpoints import load_student
from trainer.run import Run, finetune, student_recipe
from trainer.trainer import DeiTLTTrainer


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return write_recipe(folder, dataset=str(image_tree(folder / "images")))


def recipe(recipe_file, name, **given):
    return student_recipe(recipe_file, {"output_dir": str(recipe_file.parent / name), **given})


def test_a_run_gives_what_it_leaves_in_its_folder(recipe_file):
    said = []
    asked = recipe(recipe_file, "whole", model_selection="validation", validation_fraction=0.3, save_strategy="epoch")
    run = finetune(asked, say=said.append)
    assert isinstance(run, Run)
    assert run.folder == recipe_file.parent / "whole"
    assert said[0].startswith("Training the teacher")
    assert said[1].startswith("recipe ")
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert {name: metrics[name] for name in ("last", "best", "ema")} == run.reports
    assert metrics["teacher"] == run.teacher.figures
    assert metrics["class_counts"] == run.data.counts == [8, 6, 4]
    assert torch.equal(weights(load_student(run.folder)), weights(run.model))
    assert run.prediction.predictions[0].shape == (9, 3)
    settings = json.loads((run.folder / "settings.json").read_text())
    assert settings == {"kind": "student", **asked.asked}
    assert run.recipe is asked  # nothing of it was changed on the way
    assert (asked.training.teacher, asked.training.learning_rate, asked.training.warmup_steps) == (
        "teacher.yaml",
        None,
        0,
    )


class Killed(BaseException):
    """What no boundary catches, as a kill."""


def test_the_model_is_saved_before_it_is_tested(recipe_file, monkeypatch):
    """Also without checkpoints: a test that fails after hours must not cost the weights."""
    asked = recipe(recipe_file, "untested", teacher="none", save_strategy="no")
    trained = {}

    def predict(trainer, *args, **kwargs):
        trained["weights"] = weights(trainer.model).clone()
        raise Killed

    monkeypatch.setattr(DeiTLTTrainer, "predict", predict)
    with pytest.raises(Killed):
        finetune(asked, say=lambda line: None)
    assert torch.equal(weights(load_student(asked.training.output_dir)), trained["weights"])


@pytest.mark.parametrize("name", ["plot_history", "fill_model_card"])
def test_figures_are_written_last(recipe_file, monkeypatch, name):
    """Whatever of the results is cut off, the run does not count as complete."""
    asked = recipe(recipe_file, f"cut_at_{name}", teacher="none", save_strategy="no")

    def cut_off(*args):
        raise Killed

    monkeypatch.setattr(f"trainer.run.results.{name}", cut_off)
    with pytest.raises(Killed):
        finetune(asked, say=lambda line: None)
    assert not Path(asked.training.output_dir, "metrics.json").exists()
    assert Path(asked.training.output_dir, "model.safetensors").exists()


def test_what_a_start_refuses_leaves_nothing_that_stands_in_the_way(recipe_file):
    """The corrected command runs in the same folder."""
    from trainer.errors import DeiTLTError

    with pytest.raises(DeiTLTError):
        finetune(recipe(recipe_file, "corrected", teacher="none", patch_size=3))
    finetune(recipe(recipe_file, "corrected", teacher="none"), say=lambda line: None)
