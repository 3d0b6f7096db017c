"""The three steps of a run as a library: typed results, and an order in which nothing is lost."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import image_tree, weights, write_recipe

from trainer.callbacks import read_history
from trainer.checkpoints import load_student
from trainer.errors import CheckpointError, DeiTLTError, RunError
from trainer.run import Run, run_student, student_recipe
from trainer.trainer import DeiTLTTrainer


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return write_recipe(folder, dataset=str(image_tree(folder / "images")))


def recipe(recipe_file, name, **given):
    return student_recipe(recipe_file, {"output_dir": str(recipe_file.parent / name), **given})


def test_a_run_gives_what_it_leaves_in_its_folder(recipe_file, capsys):
    asked = recipe(recipe_file, "whole", model_selection="validation", validation_fraction=0.3, save_strategy="epoch")
    run = run_student(asked)
    assert isinstance(run, Run)
    assert run.folder == recipe_file.parent / "whole"
    told = capsys.readouterr().out
    places = [told.index(text) for text in ("This will take about", "Training the teacher", "\nrecipe ", "\nstudent ")]
    assert places == sorted(places)
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert {name: metrics[name] for name in ("last", "best", "ema")} == run.reports
    assert metrics["teacher"] == run.teacher.figures
    assert metrics["class_counts"] == run.data.counts == [8, 6, 4]
    assert torch.equal(weights(load_student(run.folder)), weights(run.model))
    assert run.evaluation.report == run.reports["best"]
    assert [found.classes.shape for found in run.evaluation.predictions.values()] == [(9,)] * 3
    settings = json.loads((run.folder / "settings.json").read_text())
    assert "- `teacher`: teacher\n" in (run.folder / "README.md").read_text()
    assert settings == {"kind": "student", **asked.asked, "data": run.data.digest}
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

    def test(trainer, *args, **kwargs):
        trained["weights"] = weights(trainer.model).clone()
        raise Killed

    monkeypatch.setattr(DeiTLTTrainer, "test", test)
    with pytest.raises(Killed):
        run_student(asked)
    assert torch.equal(weights(load_student(asked.training.output_dir)), trained["weights"])


@pytest.mark.parametrize("name", ["plot_history", "fill_model_card"])
def test_figures_are_written_last(recipe_file, monkeypatch, name):
    """Whatever of the results is cut off, the run does not count as complete."""
    asked = recipe(recipe_file, f"cut_at_{name}", teacher="none", save_strategy="no")

    def cut_off(*args):
        raise Killed

    monkeypatch.setattr(f"trainer.run.results.{name}", cut_off)
    with pytest.raises(Killed):
        run_student(asked)
    assert not Path(asked.training.output_dir, "metrics.json").exists()
    assert Path(asked.training.output_dir, "model.safetensors").exists()


def test_what_a_start_refuses_leaves_nothing_that_stands_in_the_way(recipe_file):
    """The corrected command runs in the same folder."""
    with pytest.raises(DeiTLTError):
        run_student(recipe(recipe_file, "corrected", teacher="none", patch_size=3))
    run_student(recipe(recipe_file, "corrected", teacher="none"))


def test_a_training_that_was_stopped_early_is_not_complete(recipe_file, monkeypatch):
    """By a callback or by a signal that Trainer takes for one."""
    step = DeiTLTTrainer.training_step

    def stop(trainer, *args, **kwargs):
        trainer.control.should_training_stop = trainer.state.global_step >= 5
        return step(trainer, *args, **kwargs)

    monkeypatch.setattr(DeiTLTTrainer, "training_step", stop)
    asked = recipe(recipe_file, "stopped", teacher="none", save_steps=2)
    with pytest.raises(RunError, match=r"stopped at step \d of 12; go on with --resume_from_checkpoint=true"):
        run_student(asked)
    assert not Path(asked.training.output_dir, "metrics.json").exists()


def test_the_best_checkpoint_is_found_where_the_folder_is_now(recipe_file, monkeypatch, tmp_path):
    """A run is moved, and resumed from another working folder."""
    selection = {"model_selection": "validation", "validation_fraction": 0.3, "save_strategy": "epoch"}
    monkeypatch.chdir(recipe_file.parent)
    given = {"output_dir": "here", "teacher": "none", **selection}
    whole = run_student(student_recipe(recipe_file, given))
    shutil.move("here", tmp_path / "there")
    (tmp_path / "there" / "metrics.json").unlink()
    monkeypatch.chdir(tmp_path)
    resumed = {**given, "output_dir": "there", "resume_from_checkpoint": "true"}
    again = run_student(student_recipe(recipe_file, resumed))
    assert again.reports == whole.reports
    assert torch.equal(weights(again.model), weights(whole.model))
    Path("there", "metrics.json").unlink()
    for checkpoint in Path("there").glob("checkpoint-*"):
        state = json.loads((checkpoint / "trainer_state.json").read_text())
        state["best_global_step"] = 1
        (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match=r"checkpoint-1 is not a complete .*; it is the best one so far"):
        run_student(student_recipe(recipe_file, resumed))


def test_a_run_that_logged_nothing_has_its_report(recipe_file):
    run = run_student(recipe(recipe_file, "quiet", teacher="none", logging_strategy="no"))
    assert sorted(path.name for path in (run.folder / "plots").iterdir()) == [
        "class_accuracy.csv",
        "class_accuracy.png",
    ]


def test_a_reused_teachers_groups_are_those_of_this_run_or_none(recipe_file):
    """Its weights are the same under any boundaries, its figures of groups are not."""
    figures, images = {}, str(image_tree(recipe_file.parent / "four", counts=(12, 8, 6, 5)))
    for name, boundaries in (("thirds", []), ("others", ["1", "2"])):
        asked = recipe(recipe_file, f"groups/{name}", dataset=images, group_boundaries=boundaries)
        figures[name] = run_student(asked).teacher.figures
    assert figures["others"]["accuracy"] == figures["thirds"]["accuracy"]
    assert figures["thirds"]["tail"] is not None
    assert figures["others"]["head"] is figures["others"]["tail"] is None


def test_tensorboard_gets_every_part_of_the_log(recipe_file):
    """As `report_to: tensorboard` does with any Trainer, student and teacher each in a folder below their own."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = run_student(recipe(recipe_file, "board", teacher="none", report_to="tensorboard"))
    (file,) = run.folder.rglob("events.out.tfevents.*")
    board = events.EventAccumulator(str(file.parent)).Reload()
    logged = {"loss", "loss_cls", "loss_dist", "cls_dist_cosine", "drw", "learning_rate"}
    assert {f"train/{name}" for name in logged} <= set(board.Tags()["scalars"])
    rows = [row for row in read_history(run.folder) if "loss" in row]
    assert [event.step for event in board.Scalars("train/loss")] == [row["step"] for row in rows]
    assert [event.value for event in board.Scalars("train/loss")] == pytest.approx([row["loss"] for row in rows])
