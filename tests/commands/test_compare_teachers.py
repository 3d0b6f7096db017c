"""The comparison of teachers: its runs, its table, and that a run made with other settings is not taken for these."""

import json

import pytest

from trainer.commands import compare_teachers
from trainer.errors import RunError, SettingError
from trainer.run import teacher_recipe


def recipe_file(folder):
    path = folder / "recipe.yaml"
    path.write_text("use_cpu: true\n")
    return path


def run_of(tmp_path, name, accuracy, tail, best=None, **given):
    folder = tmp_path / "runs" / name
    folder.mkdir(parents=True)
    teacher = {"accuracy": accuracy, "balanced_accuracy": 61.0, "head": 90.0, "mid": 80.0, "tail": tail}
    metrics = {
        "teacher": teacher,
        "best_epoch_on_test": best and {"accuracy": best},
        "wall_seconds": 10.0,
        "images_per_second": 100.0,
        "data": {"dataset": "somewhere"},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "settings.json").write_text(json.dumps(teacher_recipe(recipe_file(tmp_path), given).asked))


def compare(tmp_path, *words):
    where = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "out.json")]
    compare_teachers.main(["name", str(recipe_file(tmp_path)), *where, *words])


def test_each_value_is_a_row_and_seeds_are_averaged(tmp_path, capsys):
    for value, seed, accuracy, tail in (
        (0, 0, 50.0, 10.0),
        (0, 1, 60.0, 20.0),
        (0.1, 0, 70.0, None),
        (0.1, 1, 72.0, 5),
    ):
        best = accuracy + 2 if value else None
        given = {"sam_rho": [value], "seed": seed, "dataset": "secret"}
        run_of(tmp_path, f"recipe_sam_rho_{value}_seed{seed}", accuracy, tail, best, **given)
    compare(tmp_path, "--seeds", "0", "1", "--vary", "sam_rho", "0", "0.1", "--dataset=secret")
    printed = capsys.readouterr().out
    assert "| recipe sam_rho 0 | 55.0 | 61.0 | 90.0 | 80.0 | 15.0 | - | 10 | 100 |" in printed
    assert "| recipe sam_rho 0.1 | 71.0 | 61.0 | 90.0 | 80.0 | - | 73.0 | 10 | 100 |" in printed  # no tail was tested
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["settings"] == {}
    assert "dataset" not in content["teachers"]["recipe sam_rho 0"][0]["data"]


def test_a_run_with_other_settings_is_refused(tmp_path):
    run_of(tmp_path, "recipe_seed0", 50.0, 10.0, num_train_epochs=20)
    compare(tmp_path, "--num_train_epochs=20")
    with pytest.raises(RunError, match=r"other settings \(num_train_epochs 20.0, now 30.0\)"):
        compare(tmp_path, "--num_train_epochs=30")


def test_a_recipe_is_not_taken_for_the_name(tmp_path):
    with pytest.raises(SettingError, match="the first word is the comparison's name"):
        compare_teachers.main([str(recipe_file(tmp_path)), str(recipe_file(tmp_path))])


def test_seeds_are_not_varied_as_a_setting(tmp_path):
    """The run's own seed would win, and two equal runs be called 1 and 2."""
    with pytest.raises(SettingError, match="give the seeds with --seeds"):
        compare(tmp_path, "--vary", "seed", "1", "2")
