"""Where a person reads what stands out in a run: on the screen, on the card, in metrics.json."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers import image_tree, write_recipe

from trainer.evaluating import Evaluation
from trainer.evaluation import Predictions, expert_report
from trainer.run import run_student, student_recipe
from trainer.run.summary import _findings, final_report


def test_the_printed_lines_are_short_and_leave_flags_and_figures_whole():
    flag, long = "`--num_train_epochs 1200`", "x" * 60
    texts = [f"{long} is weaker (31.0 % accuracy) by far. {long} 5 % {flag}.", "Short."]
    blank, heading, *bullets, last = _findings(texts)
    assert (blank, heading, last) == ("", "What stands out:", "")
    lines = "\n".join(bullets).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line.strip().startswith("%") for line in lines)
    assert [line[:2] for line in lines if line[:2] != "  "] == ["- "] * 2
    assert " ".join(line[2:] for line in lines) == " ".join(texts)
    assert _findings([]) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A real run, of a tiny student with nine test images."""
    folder = tmp_path_factory.mktemp("findings")
    recipe = write_recipe(folder, dataset=str(image_tree(folder / "images")), output_dir=str(folder / "out"))
    return run_student(student_recipe(recipe, {"save_strategy": "no"}))


def test_a_run_says_what_it_found_wherever_it_is_read(run):
    assert any("rests on 3 test images of 1 class," in text for text in run.findings)
    assert json.loads((run.folder / "metrics.json").read_text())["findings"] == run.findings
    card = (run.folder / "README.md").read_text()
    section = card.partition("## Findings\n\n")[2].partition("\n\n##")[0]
    assert section == "\n".join(f"- {text}" for text in run.findings)
    table, _, rest = final_report(run).partition("\n\nWhat stands out:\n- ")
    assert "expert" in table
    findings_, _, end = rest.partition("\n\n")
    assert " ".join(findings_.split()) == " - ".join(run.findings)
    assert end.startswith(f"The model is in {run.folder}")


def test_the_last_lines_name_a_better_teacher(run):
    def report(figure):
        found = replace(run, teacher=replace(run.teacher, figures=dict.fromkeys(run.chosen["mean"], figure)))
        labels = np.repeat([0, 1, 2], 100)
        wrong = Predictions((labels + (np.arange(300) % 2)) % 3, np.ones(300))  # half of them
        predicted = dict.fromkeys(("mean", "cls", "dist"), wrong)
        evaluation = Evaluation(predicted, labels, expert_report(predicted, labels, run.data.counts))
        reports = {**run.reports, "last": evaluation.report}
        return final_report(replace(found, evaluation=evaluation, reports=reports))

    line = f"or with its teacher, which is better:\n  deit-lt classify {run.teacher.name} {run.folder}/example.png"
    assert report(90.0).endswith(line)
    assert "or with its teacher" not in report(50.0)
