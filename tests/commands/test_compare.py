"""The comparison's arithmetic and variants, and which runs it takes for its own; finetune makes the runs."""

import json
import statistics
import sys
from types import SimpleNamespace

import pytest
from helpers import image_tree, write_recipe

from trainer.commands import boundary, compare, processes, side_by_side
from trainer.errors import DeiTLTError, RunError, SettingError
from trainer.run import student_recipe


def figures(accuracy, seconds=10.0):
    expert = {"accuracy": accuracy, "balanced_accuracy": 60.0, "head": 90.0, "mid": 80.0, "tail": accuracy / 2}
    last = dict.fromkeys(("mean", "cls", "dist"), expert)
    return {"last": last, "ema": None, "teacher": None, "wall_seconds": seconds, "seed": 0, "epochs": 3}


def finished_run(recipe, runs, variant, seed, metrics):
    """A complete run, as far as a comparison looks at one."""
    folder = runs / f"{variant}_seed{seed}"
    folder.mkdir(parents=True)
    given = {"seed": seed, "dataset": "secret", **compare.CHANGES[variant]}
    asked = student_recipe(recipe, given).asked
    (folder / "settings.json").write_text(json.dumps(asked))
    (folder / "metrics.json").write_text(json.dumps(metrics))


def words(recipe, folder, *more):
    return [
        str(recipe),
        "--runs",
        str(folder / "runs"),
        "--results",
        str(folder / "out.json"),
        "--dataset=secret",
        *more,
    ]


def test_every_variant_is_a_run_and_the_table_is_their_mean(tmp_path, capsys):
    """Complete runs are read, not repeated, so figures put there by hand must come out."""
    recipe = write_recipe(tmp_path)
    for variant, accuracies in {"no_teacher": (50.0, 60.0), "full": (70.0, 74.0)}.items():
        for seed, accuracy in enumerate(accuracies):
            finished_run(recipe, tmp_path / "runs", variant, seed, figures(accuracy))
    compare.main(words(recipe, tmp_path, "--variants", "no_teacher", "full", "--seeds", "0", "1"))
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["settings"] == {}  # where the data lie is no setting
    full = content["variants"]["full"]["mean"]["mean_accuracy"]
    assert full == {"mean": 72.0, "std": round(statistics.stdev([70.0, 74.0]), 2)}
    assert "| no_teacher | 55.0 ± 7.1 | 60.0 ± 0.0 |" in capsys.readouterr().out


def test_a_run_of_an_edited_recipe_is_not_taken_for_this_one(tmp_path):
    """Neither where the student's recipe changed nor where its teacher's did; a comment changes nothing."""
    recipe = write_recipe(tmp_path)
    finished_run(recipe, tmp_path / "runs", "full", 0, figures(70.0))
    only_full = words(recipe, tmp_path, "--variants", "full")
    recipe.write_text("# a remark\n" + recipe.read_text())
    compare.main(only_full)
    write_recipe(tmp_path, alpha=0.9)
    with pytest.raises(RunError, match=r"full_seed0 has other settings \(alpha [0-9., now]+\)"):
        compare.main(only_full)
    write_recipe(tmp_path)
    teacher = tmp_path / "teacher.yaml"
    teacher.write_text(teacher.read_text() + "momentum: 0.5\n")
    with pytest.raises(RunError, match=r"full_seed0 has other settings \(teacher"):
        compare.main(only_full)


def test_figures_of_unknown_origin_are_refused(tmp_path):
    recipe = write_recipe(tmp_path)
    finished_run(recipe, tmp_path / "runs", "full", 0, figures(70.0))
    (tmp_path / "runs" / "full_seed0" / "settings.json").unlink()
    with pytest.raises(RunError, match="does not say what it was made from"):
        compare.main(words(recipe, tmp_path, "--variants", "full"))


def test_a_recipe_without_epochs_has_variants_too(tmp_path):
    """Never DRW is spelt none; it needs no number of epochs."""
    recipe = tmp_path / "short.yaml"
    recipe.write_text("drw_start_epoch: 5\nuse_cpu: true\n")
    assert student_recipe(recipe, compare.CHANGES["no_drw"]).training.drw_start_epoch is None


def test_another_result_file_is_left_alone(tmp_path):
    recipe = write_recipe(tmp_path)
    (tmp_path / "out.json").write_text('{"recipe": "another"}')
    with pytest.raises(RunError, match=r"out\.json holds something else"):
        compare.main(words(recipe, tmp_path))
    assert json.loads((tmp_path / "out.json").read_text()) == {"recipe": "another"}


def test_after_a_failed_start_the_corrected_command_runs(tmp_path, monkeypatch):
    """No images, one line and no run; with images beside the same name it trains. In this process, to save starts."""

    def in_this_process(words, **kwargs):
        monkeypatch.setattr(sys, "argv", words[3:])
        code = 0
        try:
            boundary.run(words[3], words[4:])
        except SystemExit as end:
            code = end.code
        return SimpleNamespace(returncode=code, poll=lambda: code)

    monkeypatch.setattr(side_by_side.subprocess, "Popen", in_this_process)
    recipe = write_recipe(tmp_path, teacher="none", num_train_epochs=1, drw_start_epoch=None, warmup_epochs=0)
    given = {"dataset": str(tmp_path / "images")}
    planned = [processes.plan_run("finetune", recipe, tmp_path / "runs" / "one", given)]
    with pytest.raises(RunError, match="failed; see"):
        processes.run_all(planned, tmp_path / "out.json", dict)
    image_tree(tmp_path / "images")
    assert processes.run_all(planned, tmp_path / "out.json", dict)[0]["epochs"] == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seeds", "0", "0"], "2 runs would share the folder"),
        (["--output_dir=elsewhere"], "a comparison chooses output_dir itself"),
        (["--alhpa=1"], "unknown argument --alhpa=1; did you mean --alpha"),
        (["--alpha=2"], r"alpha must lie in \[0, 1\]"),
    ],
)
def test_all_runs_are_checked_before_the_first_one_starts(tmp_path, monkeypatch, more, message):
    monkeypatch.setattr(side_by_side.subprocess, "Popen", lambda *args, **kwargs: pytest.fail("one started"))
    with pytest.raises(DeiTLTError, match=message):
        compare.main(words(write_recipe(tmp_path), tmp_path, *more))
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="holds something else"):
        compare.main([str(write_recipe(tmp_path)), "--results", str(tmp_path / "folder")])


def test_another_division_into_groups_is_another_comparison(tmp_path):
    recipe = write_recipe(tmp_path)
    finished_run(recipe, tmp_path / "runs", "full", 0, figures(70.0))
    with pytest.raises(RunError, match=r"other settings \(group_boundaries \[\], now \['1', '2'\]\)"):
        compare.main(words(write_recipe(tmp_path, group_boundaries=[1, 2]), tmp_path, "--variants", "full"))


def test_settings_are_flags_as_everywhere(tmp_path, monkeypatch):
    """In either spelling, with several values, before the recipe too; each run gets them."""
    planned = []
    monkeypatch.setattr(compare, "run_all", lambda runs, *args, **kwargs: planned.extend(runs) or pytest.skip())
    compare_words = ["--alpha", "0.3", "--group-boundaries", "1", "2", "--variants=full", str(write_recipe(tmp_path))]
    with pytest.raises(pytest.skip.Exception):
        compare.main(compare_words)
    (run,) = planned
    assert run.given == {"alpha": "0.3", "group_boundaries": ["1", "2"], "seed": 0}
    assert run.asked["settings"]["alpha"] == 0.3
    with pytest.raises(SettingError, match="variants must be of no_teacher"):
        compare.main([str(write_recipe(tmp_path)), "--variants", "all"])
