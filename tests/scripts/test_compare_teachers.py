"""The comparison of teachers: its runs, its table, and that a run made with other flags is not taken for these."""

import json
import sys

import compare_teachers
import pytest


def run_of(folder, accuracy, tail, best=None):
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


def compare(monkeypatch, tmp_path, *words):
    where = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", ["compare_teachers.py", "name", "recipe.yaml", *where, *words])
    compare_teachers.main()


def test_each_value_is_a_row_and_seeds_are_averaged(tmp_path, monkeypatch, capsys):
    for value, seed, accuracy, tail in (
        (0, 0, 50.0, 10.0),
        (0, 1, 60.0, 20.0),
        (0.1, 0, 70.0, None),
        (0.1, 1, 72.0, 5),
    ):
        best = accuracy + 2 if value else None
        run_of(tmp_path / "runs" / f"recipe_sam_rho_{value}_seed{seed}", accuracy, tail, best)
    compare(monkeypatch, tmp_path, "--seeds", "0", "1", "--vary", "sam_rho", "0", "0.1", "--dataset=secret")
    printed = capsys.readouterr().out
    assert "| recipe sam_rho 0 | 55.0 | 61.0 | 90.0 | 80.0 | 15.0 | - | 10 | 100 |" in printed
    assert "| recipe sam_rho 0.1 | 71.0 | 61.0 | 90.0 | 80.0 | - | 73.0 | 10 | 100 |" in printed  # no tail was tested
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["flags"] == []
    assert "dataset" not in content["teachers"]["recipe sam_rho 0"][0]["data"]


def test_a_run_with_other_flags_is_refused(tmp_path, monkeypatch):
    run_of(tmp_path / "runs" / "recipe_seed0", 50.0, 10.0)
    (tmp_path / "runs" / "recipe_seed0.flags").write_text("train_teacher.py recipe.yaml --num_train_epochs=2 --seed=0")
    compare(monkeypatch, tmp_path, "--num_train_epochs=2")
    with pytest.raises(SystemExit, match="other flags"):
        compare(monkeypatch, tmp_path, "--num_train_epochs=3")
