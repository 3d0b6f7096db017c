"""Who is measured when, what becomes of the seconds, and that nothing stays behind."""

import json
import sys
import time
from io import StringIO
from types import SimpleNamespace

import psutil
import pytest
import torch

from trainer.benchmark import stopwatch, turns
from trainer.benchmark.measure import figures, ratios
from trainer.benchmark.stopwatch import Channel, Ended, Stopwatch
from trainer.benchmark.turns import Turn
from trainer.errors import RunError

ANSWERS = """
import json, sys
sys.stdin.readline()
print(json.dumps({"name": "ready"}), flush=True)
for line in sys.stdin:
    steps = json.loads(line)["steps"]
    print(json.dumps({"seconds": float(steps), "waited": 0.5, "peak_memory": 7}), flush=True)
"""
FAILS = """
import json, subprocess, sys, time
told = json.loads(sys.stdin.readline())
if told["how"] == "stays":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(told["file"], "w").write(str(child.pid))
print("{}", flush=True)
sys.stdin.readline()
if told["how"] == "says":
    print(json.dumps({"error": "ValueError: too small"}), flush=True)
if told["how"] == "dies":
    sys.exit("no room left")
time.sleep(600)
"""


def channel(*messages):
    incoming = "".join(json.dumps(message) + "\n" for message in messages)
    return Channel(StringIO(incoming), StringIO())


def answers(told):
    return [json.loads(line) for line in told.outgoing.getvalue().splitlines()]


def test_contestants_alternate(tmp_path):
    messages = {"timm": {}, "ours": {}, "torch": {}}
    with turns.contestants(messages, tmp_path, [sys.executable, "-c", ANSWERS]) as started:
        assert started.facts["ours"] == {"name": "ready"}
        found = started.take_turns(pairs=3, steps=4)
    assert [turn.contestant for turn in found] == ["timm", "ours", "torch"] * 3
    assert {turn.seconds for turn in found} == {4.0}


def test_ratios_are_those_of_each_pair():
    seconds = {"timm": (3.0, 8.0, 6.0), "ours": (2.0, 2.0, 6.0)}
    found = ratios([Turn(name, seconds[name][i], 0.0, 1) for i in range(3) for name in seconds])
    assert found == {"ours": {"timm": {"median": 1.5, "min": 1.0, "max": 4.0, "pairs": [1.5, 4.0, 1.0]}}}
    assert ratios([Turn("ours", 1.0, 0.0, 1)]) == {}


@pytest.mark.parametrize(
    ("how", "reason"), [("says", "ValueError: too small"), ("dies", "ended with 1; its last words: no room left")]
)
def test_a_failure_is_one_line_and_leaves_no_process(tmp_path, how, reason):
    """The other one is ended too, with what it had started."""
    before = set(psutil.Process().children())  # workers of loaders of other tests
    file = tmp_path / "child"
    messages = {"timm": {"how": how}, "ours": {"how": "stays", "file": str(file)}}
    with (
        pytest.raises(RunError, match=f"^timm failed: .*{reason}$"),
        turns.contestants(messages, tmp_path, [sys.executable, "-c", FAILS]) as started,
    ):
        started.take_turns(pairs=1, steps=1)
    assert set(psutil.Process().children()) <= before
    assert ended(int(file.read_text()))


def ended(number):
    """Whether a process is gone, in a second at most; who has no parent may stay in the list, dead."""
    for _ in range(100):
        if not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what a test adds to it."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(stopwatch, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def slow_batches(clock):
    """Each takes three seconds to come."""
    while True:
        clock.seconds += 3
        yield "batch"


def train(watch, clock):
    """Steps of one second, until there are no more turns; how many there were."""
    for taken, _ in enumerate(watch.timed(slow_batches(clock)), start=1):
        clock.seconds += 1
        try:
            watch.step_done()
        except Ended:
            return taken


def test_waiting_is_the_time_until_a_batch_is_there(clock):
    told = channel({"steps": 5}, {"steps": 2})
    taken = train(Stopwatch(told, torch.device("cpu"), warm_up=4, facts={"threads": 1}), clock)
    ready, first, second = answers(told)
    assert ready == {"warm_up_seconds": 16.0, "threads": 1}
    assert (first["seconds"], first["waited"]) == (20.0, 15.0)
    assert (second["seconds"], second["waited"]) == (8.0, 6.0)
    assert taken == 4 + 5 + 2
    assert figures([Turn("ours", **first), Turn("ours", **second)])["waiting_share"] == 0.75


def test_batches_that_workers_had_ready_are_not_measured(clock):
    told = channel({"steps": 5})
    assert train(Stopwatch(told, torch.device("cpu"), warm_up=1, settle=6), clock) == 1 + 6 + 5
    assert answers(told)[1]["seconds"] == 20.0


def test_peak_memory_is_this_process_and_grows_with_it():
    cpu, now = torch.device("cpu"), psutil.Process().memory_info().rss
    before = stopwatch.peak_memory(cpu)
    assert before >= now
    block = torch.ones((before - now) // 4 + 2**24)  # 64 MiB above all that there was
    assert stopwatch.peak_memory(cpu) > before
    del block
