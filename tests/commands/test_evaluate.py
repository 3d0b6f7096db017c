"""A model folder on a test split, and what does not fit together."""

import json
import shutil
from pathlib import Path

import pytest
from helpers import image_tree

from trainer.commands import evaluate
from trainer.errors import CheckpointError, DataError, SettingError


def test_evaluate_repeats_the_runs_figures(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished[0])
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    evaluate.main(["out", "images", "--output", "report.json", "--use_cpu"])
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")} == before
    report, metrics = (json.loads(Path(name).read_text()) for name in ("report.json", "out/metrics.json"))
    for expert in ("mean", "cls", "dist"):  # another batch size rounds the last digit of the logits differently
        assert report[expert] == pytest.approx(metrics["last"][expert], abs=1e-3)
    assert "CLS" in capsys.readouterr().out


def test_a_runs_teacher_is_tested_too(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished[0])
    (teacher,) = Path("teachers").iterdir()
    evaluate.main([str(teacher), "images", "--use-cpu", "--output=teacher.json"])
    figures = json.loads(Path("out/metrics.json").read_text())["teacher"]
    assert json.loads(Path("teacher.json").read_text())["teacher"] == pytest.approx(figures, abs=1e-3)
    assert capsys.readouterr().out.splitlines()[1].startswith("teacher")


def test_another_precision_is_another_rounding(finished, monkeypatch):
    monkeypatch.chdir(finished[0])
    evaluate.main(["out", "images", "--use_cpu", "--precision=bf16", "--output=bf16.json"])
    report, metrics = (json.loads(Path(name).read_text()) for name in ("bf16.json", "out/metrics.json"))
    assert report["device"].endswith(" threads, bf16")
    assert 0 < abs(report["mean"]["ece"] - metrics["last"]["mean"]["ece"]) < 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["MODEL"], "required: DATA"),
        (["MODEL", "digits", "--batchsize=3"], "unknown argument --batchsize=3; did you mean --batch_size?"),
        (["MODEL", "digits", "--bf16"], "unknown argument --bf16"),
        (["MODEL", "digits", "--precision=half"], "precision must be one of float32, bf16, fp16, got half"),
        (["MODEL", "digits", "--batch_size=0"], "batch_size must lie in"),
        (["MODEL", "digits", "--test_fraction=1"], "test_fraction must lie in"),
        (["MODEL", "digits", "--output=no/where.json"], "output: there is no folder no"),
        (["MODEL", "digits", "--output=/"], "output: / is a folder; name a file in it"),
    ],
)
def test_usage_exits_with_2(refused, words, message):
    code, told = refused("evaluate", *words)
    assert code == 2
    assert message in told
    assert len(told.splitlines()) == 1


def test_evaluate_refuses_other_classes(finished, tmp_path):
    other = image_tree(tmp_path / "images", counts=(3, 2))
    with pytest.raises(DataError, match="other classes than the model, or another order: 2 for 3"):
        evaluate.main([str(finished[0] / "out"), str(other), "--use_cpu"])


def test_boundaries_that_do_not_fit_are_one_line(finished, monkeypatch):
    monkeypatch.chdir(finished[0])
    for words in (["nonsense"], ["3", "x"], ["2", "9"]):
        with pytest.raises((DataError, SettingError)) as refusal:
            evaluate.main(["out", "images", "--use_cpu", "--group_boundaries", *words])
        assert "\n" not in str(refusal.value)


def test_figures_that_were_cut_off_are_one_line(finished, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(finished[0] / "out", folder, ignore=shutil.ignore_patterns("checkpoint*"))
    (folder / "metrics.json").write_text((folder / "metrics.json").read_text()[:50])
    with pytest.raises(CheckpointError, match=r"metrics\.json cannot be read"):
        evaluate.main([str(folder), str(finished[0] / "images"), "--use_cpu"])
