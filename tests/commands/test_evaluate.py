"""A model folder on a test split, and what does not fit together."""

import json
import shutil
from pathlib import Path

import pytest
from helpers import image_tree

from trainer.commands import evaluate
from trainer.errors import CheckpointError, DataError


def test_evaluate_repeats_the_runs_figures(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished[0])
    evaluate.main(["out", "images", "--output", "report.json", "--use_cpu"])
    report, metrics = (json.loads(Path(name).read_text()) for name in ("report.json", "out/metrics.json"))
    for expert in ("mean", "cls", "dist"):  # another batch size rounds the last digit of the logits differently
        assert report[expert] == pytest.approx(metrics["last"][expert], abs=1e-3)
    assert "CLS" in capsys.readouterr().out


def test_evaluate_refuses_other_classes(finished, tmp_path):
    other = image_tree(tmp_path / "images", counts=(3, 2))
    with pytest.raises(DataError, match="other classes than the model, or another order: 2 for 3"):
        evaluate.main([str(finished[0] / "out"), str(other), "--use_cpu"])


def test_boundaries_that_do_not_fit_are_one_line(finished, monkeypatch):
    monkeypatch.chdir(finished[0])
    for words in (["nonsense"], ["3", "x"], ["2", "9"]):
        with pytest.raises(DataError) as refusal:
            evaluate.main(["out", "images", "--use_cpu", "--group_boundaries", *words])
        assert "\n" not in str(refusal.value)


def test_figures_that_were_cut_off_are_one_line(finished, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(finished[0] / "out", folder, ignore=shutil.ignore_patterns("checkpoint*"))
    (folder / "metrics.json").write_text((folder / "metrics.json").read_text()[:50])
    with pytest.raises(CheckpointError, match=r"metrics\.json cannot be read"):
        evaluate.main([str(folder), str(finished[0] / "images"), "--use_cpu"])
