"""What a person sees of a run: lines without a terminal, a bar with one, nothing where asked."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest
from helpers import arguments, image_tree, write_recipe

from trainer.run import progress
from trainer.run.progress import Progress, evaluation_line, headings, line
from trainer.terminal import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (99, "99 s"),
        (100, "2 min"),
        (99 * 60, "99 min"),
        (200 * 60, "3 h 20 min"),
        (31.2 * 3600, "31 h"),
        (12 * 86400, "12 days"),
    ],
)
def test_durations_as_people_say_them(seconds, words):
    assert in_words(seconds) == words


def test_lines_are_aligned_and_fit_80_columns():
    student = {"epoch": 1199.5, "loss": 2.3026, "loss_cls": 12.5, "loss_dist": 0.1, "teacher_agreement": 1.0}
    rows = [
        headings(),
        line("student", {**student, "learning_rate": 1.26e-4, "images_per_second": 123456.7}),
        line("teacher", {"epoch": 0.5, "loss": 1.0, "learning_rate": 0.1, "images_per_second": 12}),
    ]
    assert len({len(row) for row in rows}) == 1
    assert len(rows[0]) < 80
    columns = [row[8:].split() for row in rows]
    assert [len(cells) for cells in columns] == [8, 7, 7]  # "agree %" are two words
    assert columns[1] == ["1199.50", "2.303", "12.500", "0.100", "100.0%", "1.3e-04", "123457"]
    assert columns[2] == ["0.50", "1.000", "-", "-", "-", "1.0e-01", "12"]


def test_an_evaluation_is_the_mean_experts():
    logs = {"eval_mean_accuracy": 71.25, "eval_cls_accuracy": 90.0, "eval_mean_tail": 3.0}
    assert evaluation_line("student", 2.0, logs).endswith("evaluation: accuracy 71.2, tail 3.0")
    assert evaluation_line("teacher", 2.0, {"eval_accuracy": 50.0}).endswith("evaluation: accuracy 50.0")


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns."""
    times = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: times[0])
    return times


def test_the_time_left_is_measured_here_and_estimated_beyond(clock, tmp_path):
    """A teacher that needs 10 s for a tenth takes 90 more, whatever was planned; then 200 and 5 as planned."""
    shown = Progress(arguments(tmp_path, quiet=True))
    shown.plan({"teacher": 50.0, "student": 200.0, "tests": 5.0})
    shown.begin("teacher")
    assert shown.seconds_left(0.0) == 255
    clock[0] += 10
    assert shown.seconds_left(0.1) == pytest.approx(90 + 205)
    shown.begin("student", done=0.5)  # resumed: what an earlier process did took no time of this one
    clock[0] += 20
    assert shown.seconds_left(0.6) == pytest.approx(20 * 0.4 / 0.1 + 5)
    shown.begin("tests")
    assert shown.seconds_left(0.0) == 5


RUN = ["-m", "trainer.commands", "finetune", "recipe.yaml", "--teacher=none", "--output_dir"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("progress")
    write_recipe(folder, dataset=str(image_tree(folder / "images")), disable_tqdm=False)
    return folder


def in_a_terminal(words, cwd, columns=80):
    """What a process writes to a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, *words], cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, env=env
    ) as process:
        os.close(theirs)
        told, end = b"", time.monotonic() + 120
        while time.monotonic() < end:
            if select.select([ours], [], [], 0.5)[0]:
                try:
                    told += os.read(ours, 65536)
                except OSError:  # the other side is closed
                    break
            elif process.poll() is not None:
                break
    os.close(ours)
    assert process.returncode == 0, told.decode()
    return told.decode()


def test_a_terminal_has_a_bar_above_which_the_lines_stay(folder):
    told = in_a_terminal([*RUN, "bar"], folder)
    assert re.search(r"\rstudent epoch \d/3 +\d+ s left .* +\d+%", told)
    lines = [part.split("\r")[-1] for part in told.split("\r\n")]
    assert sum(bool(re.match(r"student +\d\.\d\d ", text)) for text in lines) > 3
    figures = [text for text in lines if text.startswith(("student ", "mean ", "recipe ", "machine "))]
    assert max(map(len, figures)) < 80
    assert "loss is" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize(("flag", "lines"), [("--alpha=0.5", True), ("--quiet", False)])
def test_without_a_terminal_there_are_lines_and_with_quiet_the_report_alone(folder, flag, lines):
    out = flag.strip("-").replace("=", "")
    done = subprocess.run(
        [sys.executable, *RUN, out, flag], cwd=folder, capture_output=True, text=True, timeout=120, check=True
    )
    assert ("\nstudent " in done.stdout) == lines
    assert ("This will take about" in done.stdout) == lines
    assert "\r" not in done.stdout + done.stderr
    assert "\nmean " in done.stdout
    assert f"The model is in {out}" in done.stdout
