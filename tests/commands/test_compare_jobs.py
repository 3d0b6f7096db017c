"""Runs of a comparison beside each other: how many, on which cores, and how they end; by processes of milliseconds."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from helpers import SCRIPTS, command, image_tree, write_recipe

from trainer.commands import compare, compare_teachers, processes, side_by_side
from trainer.commands.side_by_side import Job, run_side_by_side, shares_of_cores
from trainer.errors import RunError, SettingError
from trainer.stopping import Terminated

# Waits until so many have begun, or for the signal; Ctrl-C must not reach it.
STUB = """
import json, os, pathlib, signal, sys, time
name, together, code = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def end(number, frame):
    pathlib.Path(f"{name}.saved").write_text("")
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
os.kill(os.getpid(), signal.SIGINT)
begin = time.monotonic()
pathlib.Path(f"{name}.begun").write_text(str(os.getpid()))
while len(list(pathlib.Path().glob("*.begun"))) < together and time.monotonic() < begin + 60:
    time.sleep(0.01)
print("output of", name)
told = {"begin": begin, "end": time.monotonic(), "cores": sorted(os.sched_getaffinity(0))}
pathlib.Path(f"{name}.json").write_text(json.dumps(told))
sys.exit(code)
"""
NEVER = 99


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with a stub in the place of the commands."""
    (tmp_path / "stub.py").write_text(STUB)
    monkeypatch.setattr(side_by_side, "PROGRAM", [sys.executable, str(tmp_path / "stub.py")])
    monkeypatch.setattr(side_by_side, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job(folder, name, together=1, code=0, shares=None):
    return Job(name, [name, str(together), str(code)], folder / "runs" / f"{name}.log", shares)


def told(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def test_so_many_at_a_time_each_on_its_share_of_the_cores(folder, capsys):
    """The first two end only once both have begun."""
    assert run_side_by_side([job(folder, name, together=2) for name in "abcd"], 2) == []
    runs = {name: told(folder, name) for name in "abcd"}
    for run in runs.values():
        beside = [one for one in runs.values() if one["begin"] <= run["begin"] < one["end"]]
        assert len(beside) <= 2
    shares = shares_of_cores(2)
    assert [runs["a"]["cores"], runs["b"]["cores"]] == shares
    assert all(run["cores"] in shares for run in runs.values())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"a: started; its output goes to {folder}/runs/a.log"
    assert sum(": done after " in line for line in lines) == 4, lines
    assert (folder / "runs" / "c.log").read_text() == "output of c\n"


def test_one_after_the_other_has_all_cores(folder):
    run_side_by_side([job(folder, "a"), job(folder, "b")])
    first, second = told(folder, "a"), told(folder, "b")
    assert first["end"] < second["begin"]
    assert first["cores"] == second["cores"] == sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("cores", "count", "shares"),
    [
        ({0, 1, 2, 3, 4, 5, 6, 7}, 2, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ({2, 5, 7}, 2, [[2], [5, 7]]),
        ({3, 4}, 3, [[3], [4], [3]]),
        ({0, 1}, 1, [[]]),  # nothing to divide
    ],
)
def test_shares_are_disjoint_while_there_are_enough_cores(monkeypatch, cores, count, shares):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cores)
    assert shares_of_cores(count) == shares


def test_fewer_runs_than_jobs_share_all_cores(folder):
    run_side_by_side([job(folder, "a")], 8)
    assert told(folder, "a")["cores"] == sorted(os.sched_getaffinity(0))


def test_after_a_failure_none_starts_and_those_that_run_are_waited_for(folder):
    """The first one ends only after the failure has been seen."""

    def let_the_first_end():
        while not (folder / "b.json").exists():
            time.sleep(0.01)
        failing = int((folder / "b.begun").read_text())
        while psutil.pid_exists(failing):  # until it is waited for
            time.sleep(0.01)
        (folder / "third.begun").touch()

    helper = threading.Thread(target=let_the_first_end)
    helper.start()
    failed = run_side_by_side([job(folder, "a", 3), job(folder, "b", 2, code=3), job(folder, "c")], 2)
    helper.join()
    assert [one.name for one in failed] == ["b"]
    assert told(folder, "a")["end"]
    assert not (folder / "c.begun").exists()


def test_runs_that_would_wait_for_one_teacher_begin_beside_others(folder):
    """Where nothing else is left they begin nevertheless: the folder's lock has one of them wait."""
    jobs = [job(folder, "a", 2, shares="T"), job(folder, "b", 3, shares="T"), job(folder, "c", 2)]
    run_side_by_side(jobs, 2)
    assert max(told(folder, name)["begin"] for name in "ac") < told(folder, "b")["begin"]
    for name in "abc":
        (folder / f"{name}.begun").unlink()
    run_side_by_side([job(folder, "a", 2, shares="T"), job(folder, "b", 2, shares="T")], 2)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_ends_all_in_order(folder, number, error):
    """Each saves, none is left behind, and what had not begun never does."""

    def send():
        while len(list(folder.glob("*.begun"))) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(error) as stop:
        run_side_by_side([job(folder, name, NEVER) for name in "abc"], 2)
    sender.join()
    assert type(stop.value) is error
    assert {path.name for path in folder.glob("*.saved")} == {"a.saved", "b.saved"}
    for name in "ab":
        with pytest.raises(ProcessLookupError):
            os.kill(int((folder / f"{name}.begun").read_text()), 0)
    assert not (folder / "c.begun").exists()
    assert signal.getsignal(number) is before


def test_an_error_of_the_comparison_leaves_none_behind(folder):
    """Here: the log of the second cannot be written."""
    (folder / "file").write_text("")
    jobs = [job(folder, "a", NEVER), job(folder, "b")._replace(log=folder / "file" / "b.log")]
    with pytest.raises(FileExistsError):
        run_side_by_side(jobs, 2)
    assert not (folder / "a.json").exists()


def test_a_comparison_tells_the_log_of_what_failed(folder):
    """By the stub, which takes the command's name for its own and ends with a failure at the recipe's."""
    recipe = write_recipe(folder)
    planned = [
        processes.plan_run("finetune", recipe, folder / "runs" / f"{seed}", {"seed": seed}) for seed in range(3)
    ]
    with pytest.raises(RunError, match=r"1 of 3 runs failed; see \S+runs/0\.log$"):
        processes.run_all(planned, folder / "results.json", dict)


@pytest.mark.parametrize("jobs", ["0", "-1", "1.5", "two", "nan"])
def test_what_cannot_be_a_number_of_jobs(tmp_path, jobs):
    recipe = write_recipe(tmp_path)
    with pytest.raises(SettingError, match=r"^jobs must "):
        compare.main([str(recipe), f"--jobs={jobs}"])
    with pytest.raises(SettingError, match=r"^jobs must "):
        compare_teachers.main(["name", str(tmp_path / "teacher.yaml"), f"--jobs={jobs}"])


@pytest.mark.slow
def test_students_beside_each_other_train_their_teacher_once(tmp_path):
    """Both begin at once; the second waits for the first one's teacher, and takes it."""
    recipe = write_recipe(tmp_path, dataset=str(image_tree(tmp_path / "images")))
    done = command("compare", recipe, "--variants", "no_drw", "full", "--jobs", "2", "--runs=runs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    logs = [(tmp_path / "runs" / f"{variant}_seed0.log").read_text() for variant in ("no_drw", "full")]
    assert sum("Training the teacher" in log for log in logs) == 1, logs
    assert len(list((tmp_path / "runs" / "teachers").iterdir())) == 1
    content = json.loads((tmp_path / "runs" / "results.json").read_text())
    first, second = (content["variants"][variant]["runs"][0] for variant in ("no_drw", "full"))
    assert first["teacher"] == second["teacher"]
    assert done.stdout.count(": done after") == 2


@pytest.mark.slow
def test_a_comparison_that_was_terminated_goes_on(tmp_path):
    """SIGTERM to the comparison alone: both of its runs save a checkpoint, and the same command finishes them."""
    long = {"teacher": "none", "num_train_epochs": 150, "drw_start_epoch": None, "save_steps": 590}
    write_recipe(tmp_path, dataset=str(image_tree(tmp_path / "images")), **long)
    words = ["recipe.yaml", "--variants=no_teacher", "--seeds", "0", "1", "--jobs=2", "--runs=runs"]
    whole = [sys.executable, str(SCRIPTS / "compare.py"), *words]
    histories = [tmp_path / "runs" / f"no_teacher_seed{seed}" / "history.jsonl" for seed in (0, 1)]
    with subprocess.Popen(whole, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 200
        while not all(file.is_file() and file.stat().st_size for file in histories) and time.monotonic() < deadline:
            time.sleep(0.05)
        running.terminate()
        _, errors = running.communicate(timeout=100)
    assert (running.returncode, errors) == (143, "terminated\n")
    stopped = [int(next(file.parent.glob("checkpoint-*")).name.split("-")[1]) for file in histories]
    assert all(0 < step < 590 for step in stopped)
    done = command("compare", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = [json.loads((file.parent / "metrics.json").read_text()) for file in histories]
    assert [run["resumed_from_step"] for run in metrics] == stopped
