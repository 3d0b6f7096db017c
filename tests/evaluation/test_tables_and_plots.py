import csv
import math
import re

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from trainer.evaluation import (
    expert_report,
    format_report,
    group_rule,
    markdown_table,
    plot_class_accuracy,
    plot_history,
)

GROUPS = ["head", "mid", "tail", "many", "medium", "few"]
HEADINGS = ["accuracy", "balanced", *GROUPS, "macro F1", "G-mean", "worst", "ECE"]


@pytest.fixture
def report():
    labels = np.array([0, 0, 1, 1, 2, 2])
    logits = 50.0 * np.eye(3)[[0, 0, 1, 2, 2, 2]]
    return expert_report({"mean": logits, "cls": logits, "dist": -logits}, labels, [500, 200, 50])


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved, for a look at what they hold."""
    saved, save = [], Figure.savefig

    def record(figure, *args, **kwargs):
        saved.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", record)
    return saved


def test_the_plain_table_is_aligned_and_says_its_rules(report):
    rule = group_rule([500, 200, 50])
    heading, *rows, caption = format_report(report, rule).split("\n")
    assert re.split(r"\s{2,}", heading) == ["expert", *HEADINGS]
    assert {len(line) for line in [heading, *rows]} == {len(heading)}
    assert [row.split()[0] for row in rows] == ["mean", "CLS", "DIST"]
    assert rows[0].split()[1:9] == ["83.3", "83.3", "100.0", "50.0", "100.0", "75.0", "100.0", "-"]
    assert rule in caption


def test_tables_lead_with_what_the_report_leads_with():
    """Test classes of 3 and 2 images: balanced accuracy first, above a teacher whose figures came without it too."""
    logits = 50.0 * np.eye(3)[[0, 0, 0, 1, 2]]
    report = expert_report({"mean": logits}, np.array([0, 0, 0, 2, 2]), [500, 200, 50])
    heading, teacher, mean, *notes = format_report({"teacher": {"accuracy": 1.0}, **report}).split("\n")
    assert heading.split()[1:3] == ["balanced", "accuracy"]
    assert teacher.split()[1:3] == ["-", "1.0"]
    assert mean.split()[1:3] == ["75.0", "80.0"]
    assert "1 of the classes have no test images" in notes[-1]


def test_the_markdown_table_holds_the_same_cells(report):
    plain = [re.split(r"\s{2,}", line) for line in format_report(report).split("\n")[:4]]
    lines = [line for line in markdown_table(report).split("\n") if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [cells[0], *cells[2:]] == plain
    assert all(set(cell) <= {"-", ":"} and len(cell) >= 3 for cell in cells[1])
    assert "&lt;20 training images" in markdown_table(report)


def test_classes_without_test_images_are_told_not_tabled(report):
    report["classes_without_test_images"] = [4, 9]
    text = format_report(report)
    assert text.endswith("2 of the classes have no test images and are left out of the groups: 4, 9.")
    assert len(text.split("\n")) == 6
    report["classes_without_test_images"] = list(range(500))
    assert text.count("\n") == format_report(report).count("\n")
    assert "9, ..." in format_report(report)


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG\r\n") and path.stat().st_size > 5000


def draw(num_classes, counts=None):
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 1000, num_classes) if counts is None else counts
    accuracies = {name: 100 * rng.random(num_classes) for name in ("mean", "cls", "dist")}
    accuracies["cls"][0] = np.nan
    return accuracies, counts, [f"class {label}" for label in range(num_classes)]


# matplotlib and numpy warn of a drawing that goes wrong; an old matplotlib also of the new pyparsing.
@pytest.mark.filterwarnings("error", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("num_classes", "counts"),
    [(1, None), (2, [7, 0]), (10, None), (20, [5] * 20), (21, [5] * 21), (100, [100, 0] * 50), (1000, None)],
)
def test_class_accuracy_is_drawn_and_its_numbers_written(tmp_path, num_classes, counts):
    accuracies, counts, names = draw(num_classes, counts)
    names[0] = r"comma, $\nomath$"
    path = tmp_path / "plots" / "classes.png"
    plot_class_accuracy(accuracies, counts, names, path)
    assert is_png(path)
    with open(path.with_suffix(".csv"), encoding="utf-8", newline="") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["class", "name", "count", "mean", "cls", "dist"]
    assert rows[0][4] == ""
    assert [(int(r[0]), r[1], int(r[2])) for r in rows] == list(zip(range(num_classes), names, counts, strict=True))
    written = np.array([[float(cell or "nan") for cell in row[3:]] for row in rows])
    np.testing.assert_array_equal(written.T, list(accuracies.values()))


def test_few_classes_stand_in_rank_order_with_their_own_numbers(tmp_path, figures):
    plot_class_accuracy({"mean": [10, 20, 30]}, [5, 500, 50], ["a", "b", "c"], tmp_path / "x.png")
    (axes,) = figures[0].axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["b (500)", "c (50)", "a (5)"]
    assert axes.lines[0].get_ydata().tolist() == [20, 30, 10]


def test_many_classes_lie_at_their_counts_and_the_line_joins_means(tmp_path, figures):
    counts = np.array([10, 1000] * 20)
    accuracy = np.where(counts == 10, 30.0, 80.0) + np.tile([-5, -5, 5, 5], 10)
    plot_class_accuracy({"mean": accuracy}, counts, [""] * 40, tmp_path / "x.png")
    (axes,) = figures[0].axes
    points, line = axes.lines[:2]
    assert axes.get_xscale() == "log"
    assert points.get_xdata().tolist() == counts.tolist()
    assert points.get_ydata().tolist() == accuracy.tolist()
    np.testing.assert_allclose(line.get_xydata(), [[10, 30], [1000, 80]])


def test_of_thousands_of_classes_the_line_alone_is_drawn(tmp_path, figures):
    """Its first mean is not that of the one class with the fewest images."""
    counts = np.append(np.arange(5000) + 10, 1)
    plot_class_accuracy({"mean": np.append(np.full(5000, 50.0), 100)}, counts, [""] * 5001, tmp_path / "x.png")
    (line, *_) = figures[0].axes[0].lines
    assert len(line.get_xdata()) == 12
    assert line.get_ydata()[0] == pytest.approx(50, abs=1)


@pytest.mark.parametrize("num_classes", [10, 50])
def test_every_expert_is_drawn_however_many_there_are(tmp_path, figures, num_classes):
    _, counts, names = draw(num_classes)
    plot_class_accuracy({f"e{i}": np.full(num_classes, i) for i in range(9)}, counts, names, tmp_path / "x.png")
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == [f"e{i}" for i in range(9)]


@pytest.mark.parametrize(
    ("accuracies", "names", "says"),
    [
        ({}, ["a", "b"], "no expert"),
        ({"cls": [1]}, ["a", "b"], "1 values for 'cls'"),
        ({"cls": [1, 2]}, ["a"], "names"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(tmp_path, accuracies, names, says):
    with pytest.raises(ValueError, match=says):
        plot_class_accuracy(accuracies, [5, 6], names, tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_history_draws_what_there_is_and_marks_drw(tmp_path, figures):
    history = [{"epoch": e, "loss": 9 - e, "loss_cls": 8 - e, "drw": int(e >= 5)} for e in range(1, 8)]
    history += [{"epoch": 4, "eval_mean_accuracy": 40.0, "eval_cls_accuracy": None}, {"train_runtime": 3.0}]
    plot_history(history, tmp_path / "plots" / "history.png")
    assert is_png(tmp_path / "plots" / "history.png")
    losses, accuracy = figures[0].axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in losses.lines}
    assert drawn["loss"] == [[e, 9 - e] for e in range(1, 8)]
    assert drawn["CLS loss"] == [[e, 8 - e] for e in range(1, 8)]
    assert [x for x, _ in drawn["DRW starts"]] == [5, 5]
    assert len(drawn) == 3
    assert accuracy.lines[0].get_xydata().tolist() == [[4, 40]]
    assert [line.get_linestyle() for line in accuracy.lines[1:]] == ["--"]


@pytest.mark.parametrize("flags", [[0, 0, 0], [1, 1, 1], [None, 1, 1]])
def test_no_drw_line_without_a_turn(tmp_path, figures, flags):
    plot_history([{"epoch": e, "loss": 1.0, "drw": flag} for e, flag in enumerate(flags)], tmp_path / "x.png")
    assert len(figures[0].axes[0].lines) == 1


@pytest.mark.parametrize("history", [[], [{"loss": 1.0}], [{"epoch": 1, "loss": None}]])
def test_an_empty_history_is_refused(tmp_path, history):
    with pytest.raises(ValueError, match="nothing to plot"):
        plot_history(history, tmp_path / "x.png")


def test_a_loss_that_is_not_finite_leaves_a_gap(tmp_path, figures):
    plot_history([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": math.nan}], tmp_path / "x.png")
    assert is_png(tmp_path / "x.png")


def test_the_programs_own_backend_is_left_alone(tmp_path):
    with matplotlib.rc_context({"backend": "svg"}):
        plot_history([{"epoch": 1, "loss": 1.0}], tmp_path / "x.png")
        assert matplotlib.get_backend() == "svg"
    assert is_png(tmp_path / "x.png")
