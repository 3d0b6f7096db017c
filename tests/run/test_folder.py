"""Folders of runs: whose they are, who works in them, and what becomes of what lies there."""

import subprocess
import sys

import pytest
from helpers import arguments

from trainer.errors import CheckpointError, DeiTLTError, RunError
from trainer.run.files import read_json, write_json
from trainer.run.folder import LOCK, begin, locked, open_run


def run_in(folder, kind="student", **settings):
    """The checkpoint that a run in this folder would go on from."""
    with open_run(arguments(folder, **settings), kind, {}) as checkpoint:
        return checkpoint


RESUME = {"resume_from_checkpoint": "true"}


def test_a_new_folder_is_made_and_an_empty_one_taken(tmp_path):
    assert run_in(tmp_path / "a" / "b") is None
    assert run_in(tmp_path / "a" / "b") is None  # a start that came to nothing leaves a lock alone
    assert run_in(tmp_path / "a" / "b", **RESUME) is None


@pytest.mark.parametrize("content", ["README.md", "checkpoint-3/weights", ".git/config"])
def test_other_work_is_refused_and_left_alone(tmp_path, content):
    """A start refuses whatever is there; resuming refuses what is no run."""
    file = tmp_path / content
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(RunError, match="is not empty; name another --output_dir"):
        run_in(tmp_path)
    with pytest.raises(CheckpointError, match="there is no student's run in"):
        run_in(tmp_path, **RESUME)
    assert file.read_text() == "mine"


def test_a_teachers_folder_is_no_students(tmp_path):
    begin(tmp_path, "teacher", {})
    with pytest.raises(CheckpointError, match="there is no student's run in"):
        run_in(tmp_path, **RESUME)
    assert run_in(tmp_path, "teacher", **RESUME) is None


def test_a_complete_run_is_not_resumed(tmp_path):
    begin(tmp_path, "student", {})
    write_json(tmp_path / "metrics.json", {})
    with pytest.raises(RunError, match="is complete; name another --output_dir"):
        run_in(tmp_path, **RESUME)


def test_a_run_without_a_checkpoint_starts_anew_and_says_so(tmp_path, caplog):
    begin(tmp_path, "student", {})
    (tmp_path / "history.jsonl").write_text("{}")
    with pytest.raises(RunError, match="is not empty; go on with --resume_from_checkpoint true"):
        run_in(tmp_path)
    assert run_in(tmp_path, **RESUME) is None
    assert "has no whole checkpoint; the run starts anew" in caplog.text


def test_a_kill_in_the_first_file_of_a_run_leaves_a_folder_to_start_in(tmp_path):
    (tmp_path / "settings.json.tmp").write_text('{"ki')
    assert run_in(tmp_path) is None


def test_settings_that_cannot_be_read_are_one_line(tmp_path):
    (tmp_path / "settings.json").write_text('{"kind": "stu')
    with pytest.raises(CheckpointError, match=r"settings\.json cannot be read \([^\n]*\); remove or restore it"):
        run_in(tmp_path, **RESUME)


@pytest.mark.parametrize("place", ["a file", "under a file", "a dangling link"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, place):
    (tmp_path / "a file").write_text("")
    (tmp_path / "a dangling link").symlink_to(tmp_path / "nowhere" / "at all")
    folder = tmp_path / "a file" / "out" if place == "under a file" else tmp_path / place
    with pytest.raises(RunError, match="cannot be written") as refusal:
        run_in(folder)
    assert "\n" not in str(refusal.value)


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("inside", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def another_run(tmp_path):
    """A folder that another process works in until its input ends."""
    (tmp_path / "out").mkdir()
    words = [sys.executable, "-c", HOLD, str(tmp_path / "out" / LOCK)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "inside\n"
        yield tmp_path / "out", process


def test_a_second_run_is_refused_while_the_first_works_or_lives(another_run):
    folder, process = another_run
    for settings in ({}, RESUME):
        with pytest.raises(RunError, match=r"another run works in .*; wait for its end"):
            run_in(folder, **settings)
    process.kill()  # a lock dies with its process
    process.wait()
    assert run_in(folder) is None


def test_a_shared_teachers_folder_is_waited_for(another_run, monkeypatch):
    folder, process = another_run
    waited = []

    def until_it_leaves(seconds):
        waited.append(seconds)
        process.stdin.close()
        process.wait()

    monkeypatch.setattr("trainer.run.folder.time.sleep", until_it_leaves)
    with locked(folder, wait=True):
        assert waited


def test_what_nobody_foresaw_leaves_its_traceback_and_a_refusal_does_not(tmp_path):
    with pytest.raises(ZeroDivisionError) as error, open_run(arguments(tmp_path / "a"), "student", {}):
        raise ZeroDivisionError("of all things")
    assert error.value.__notes__ == [f"its traceback is in {tmp_path / 'a' / 'traceback.txt'}"]
    assert "ZeroDivisionError: of all things" in (tmp_path / "a" / "traceback.txt").read_text()
    assert run_in(tmp_path / "a") is None  # and does not stand in the way of the next start
    with pytest.raises(DeiTLTError), open_run(arguments(tmp_path / "b"), "student", {}):
        raise DeiTLTError("refused")
    assert [path.name for path in (tmp_path / "b").iterdir()] == [".lock"]


def test_a_kill_while_a_file_is_written_leaves_the_old_one(tmp_path, monkeypatch):
    write_json(tmp_path / "metrics.json", {"old": 1})
    monkeypatch.setattr("trainer.run.files.os.fsync", lambda number: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_json(tmp_path / "metrics.json", {"new": 2})
    assert read_json(tmp_path / "metrics.json") == {"old": 1}
