"""The comparison's arithmetic and variants; the runs themselves are finetune.py's."""

import json
import statistics
import sys

import compare
import pytest
from helpers import write_recipe


def figures(accuracy, seconds=10.0):
    expert = {"accuracy": accuracy, "balanced_accuracy": 60.0, "head": 90.0, "mid": 80.0, "tail": accuracy / 2}
    last = dict.fromkeys(("mean", "cls", "dist"), expert)
    return {"last": last, "ema": None, "teacher": None, "wall_seconds": seconds, "seed": 0, "epochs": 3}


def test_every_variant_is_a_run_and_the_table_is_their_mean(tmp_path, monkeypatch, capsys):
    """Complete runs are read, not repeated, so figures put there by hand must come out."""
    recipe = write_recipe(tmp_path)
    for variant, accuracies in {"no_teacher": (50.0, 60.0), "full": (70.0, 74.0)}.items():
        for seed, accuracy in enumerate(accuracies):
            folder = tmp_path / "runs" / f"{variant}_seed{seed}"
            folder.mkdir(parents=True)
            (folder / "metrics.json").write_text(json.dumps(figures(accuracy)))
    words = [str(recipe), "--variants", "no_teacher", "full", "--seeds", "0", "1", "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(
        sys, "argv", ["compare.py", *words, "--results", str(tmp_path / "out.json"), "--dataset=secret"]
    )
    compare.main()
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["flags"] == []  # where the data lie is no setting
    full = content["variants"]["full"]["mean"]["mean_accuracy"]
    assert full == {"mean": 72.0, "std": round(statistics.stdev([70.0, 74.0]), 2)}
    assert "| no_teacher | 55.0 ± 7.1 | 60.0 ± 0.0 |" in capsys.readouterr().out


def test_variants_differ_in_teacher_and_drw_alone(tmp_path):
    recipe = write_recipe(tmp_path)
    never = "--drw_start_epoch=3"  # the recipe's epochs: from the last on is never
    assert compare.variant_flags(recipe, "full", []) == []
    assert compare.variant_flags(recipe, "no_drw", []) == [never]
    assert compare.variant_flags(recipe, "no_teacher", []) == ["--teacher=none", never]
    assert compare.variant_flags(recipe, "no_drw", ["--num_train_epochs=9"]) == ["--drw_start_epoch=9"]


def test_flags_are_written_with_an_equals_sign(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare.py", str(write_recipe(tmp_path)), "--alpha", "0.3"])
    with pytest.raises(SystemExit) as end:
        compare.main()
    assert end.value.code == 2
    assert "--flag=value" in capsys.readouterr().err
