"""gradient_checkpointing: a student that computes its layers twice learns the same, stochastic depth included."""

import pytest
import torch
from helpers import image_tree, weights, write_recipe

from trainer.errors import RunError
from trainer.run import estimate, prepare_data, run_student, student_recipe
from trainer.trainer import DeiTLTTrainer


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpointing")
    settings = {"teacher": "none", "drop_path_rate": 0.5, "save_steps": 1, "base_learning_rate": 0.01}
    return write_recipe(folder, dataset=str(image_tree(folder / "images")), **settings)


@pytest.fixture(scope="module")
def plain(recipe_file):
    """The weights of the run without it."""
    return weights(run_student(recipe(recipe_file, "plain")).model)


def recipe(recipe_file, name, **given):
    return student_recipe(recipe_file, {"output_dir": str(recipe_file.parent / name), **given})


@pytest.mark.parametrize(
    "settings", [None, '{"use_reentrant": true}', '{"use_reentrant": false, "every_n_layers": 2, "offload": true}']
)
def test_a_run_learns_the_same(recipe_file, plain, settings):
    given = {} if settings is None else {"gradient_checkpointing_kwargs": settings}
    name = f"run {settings}".replace('"', "").replace("{", "").replace("}", "")
    run = run_student(recipe(recipe_file, name, gradient_checkpointing="true", **given))
    assert all(layer.gradient_checkpointing for layer in run.model.deit.encoder.layer[::2])
    torch.testing.assert_close(weights(run.model), plain, rtol=0, atol=0)


def test_a_run_may_begin_or_go_on_with_it(recipe_file, plain, monkeypatch):
    step = DeiTLTTrainer.training_step

    def stop(trainer, *args, **kwargs):
        trainer.control.should_training_stop = trainer.state.global_step >= 4
        return step(trainer, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(DeiTLTTrainer, "training_step", stop)
        with pytest.raises(RunError, match="was stopped"):
            run_student(recipe(recipe_file, "resumed"))
    again = recipe(recipe_file, "resumed", gradient_checkpointing="true", resume_from_checkpoint="true")
    torch.testing.assert_close(weights(run_student(again).model), plain, rtol=0, atol=0)


@pytest.mark.parametrize("asked", [True, False])
def test_the_estimate_takes_the_steps_that_will_be_taken(recipe_file, monkeypatch, asked):
    """With less memory, and a third more time."""
    seen = []

    def measured(trainer, *args):
        seen.append(trainer.model.deit.encoder.layer[0].gradient_checkpointing)
        return 0.001, 0.001

    monkeypatch.setattr(estimate, "_seconds_per_image", measured)
    one = recipe(recipe_file, "estimate", gradient_checkpointing=str(asked))
    estimate.estimate_student(one, prepare_data(one.data, one.training), None)
    assert seen == [asked]
