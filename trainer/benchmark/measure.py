"""A benchmark: cases one after the other, their contestants in turns, what comes out as JSON and as a table."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from trainer.benchmark.cases import CASES, CONTESTANTS
from trainer.benchmark.entry import CLASSES, Entry
from trainer.benchmark.flops import flops_of_step, matmul_ceiling
from trainer.benchmark.turns import Turn, contestants
from trainer.errors import RunError
from trainer.machine import free_memory

KIND = "deit-lt benchmark"
EPOCH_BATCHES = 96  # as many as an epoch of CIFAR-10-LT has
LIBRARIES = ("torch", "torchvision", "timm", "transformers", "accelerate")


@dataclass(frozen=True)
class Benchmark:
    """What is measured.

    Attributes:
        cases: names from `CASES`.
        contestants: names from `CONTESTANTS`; each case takes those that can train it.
        data: names from `DATA`.
        pairs: blocks of steps of each contestant.
        steps: of a block.
        batch_size: images of a step; None: the case's.
        use_cpu: leave a GPU alone.
    """

    cases: Sequence[str]
    contestants: Sequence[str]
    data: Sequence[str]
    pairs: int = 5
    steps: int = 10
    batch_size: int | None = None
    use_cpu: bool = False

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU: there seconds count, on a CPU ratios alone."""
        return torch.cuda.is_available() and not self.use_cpu

    def run(self, say: Callable[[str], None]) -> Iterator[dict]:
        """Measure.

        Args:
            say: takes a line on what begins.

        Yields:
            All that is measured so far, after each case and kind of data.

        Raises:
            RunError: a contestant failed.
        """
        content = self._begin()
        for name in self.cases:
            for data in self.data:
                taking_part = [each for each in self.contestants if each in CASES[name].contestants]
                say(f"{name}, {data} images: {', '.join(taking_part)}")
                try:
                    content["results"].append(self._measure(name, data, taking_part, content.get("matmul_tflops")))
                except RunError as error:
                    raise RunError(f"{name}, {data} images: {error}") from error
                yield content

    def _begin(self) -> dict:
        ceiling = {"matmul_tflops": round(matmul_ceiling(torch.device("cuda")) / 1e12, 1)} if self.on_gpu else {}
        free_memory()  # which the contestants need
        return {
            "kind": KIND,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
            "device": torch.cuda.get_device_name() if self.on_gpu else f"cpu, {platform.machine()}",
            **ceiling,
            "pairs": self.pairs,
            "steps": self.steps,
            "contestants": {
                name: {"what": CONTESTANTS[name].what, **CONTESTANTS[name].settings} for name in self.contestants
            },
            "results": [],
        }

    def _measure(self, name: str, data: str, taking_part: Sequence[str], ceiling: float | None) -> dict:
        case = CASES[name]
        batch_size = self.batch_size or (case.gpu_batch if self.on_gpu else case.cpu_batch)
        # An epoch's images may be augmented at its begin: then each turn has one, however few steps it has.
        least = self.steps * -(-CLASSES // (self.steps * batch_size))
        epoch_batches = least if data == "device" else max(EPOCH_BATCHES, least)
        with TemporaryDirectory(prefix="deit-lt-benchmark-") as folder:
            entries = {
                each: Entry(
                    case=case,
                    ours=CONTESTANTS[each].ours,
                    settings=CONTESTANTS[each].settings,
                    data=data if CONTESTANTS[each].ours or data != "device" else "host",
                    batch_size=batch_size,
                    epoch_batches=epoch_batches,
                    use_cpu=not self.on_gpu,
                    folder=str(Path(folder, each)),
                )
                for each in taking_part
            }
            messages = {each: entry.to_message() for each, entry in entries.items()}
            with contestants(messages, Path(folder)) as started:
                turns = started.take_turns(self.pairs, self.steps)
        found = {each: figures([turn for turn in turns if turn.contestant == each]) for each in taking_part}
        for each, figure in found.items():
            flops = flops_of_step(entries[each])
            figure["workers"] = started.facts[each]["workers"]
            figure["gflop_per_step"] = round(flops / 1e9, 3)
            if self.on_gpu:
                figure["warm_up_seconds"] = round(started.facts[each]["warm_up_seconds"], 1)
                seconds = [turn.seconds / self.steps for turn in turns if turn.contestant == each]
                figure |= speed(seconds, batch_size, flops, ceiling)
        return {
            "case": name,
            "what": case.what,
            "data": data,
            "batch_size": batch_size,
            "threads": started.facts[taking_part[0]]["threads"],
            "turns": [turn.contestant for turn in turns],
            "contestants": found,
            "ratios": ratios(turns),
        }


def figures(turns: Sequence[Turn]) -> dict:
    """What the turns of one contestant say besides its speed."""
    return {
        "waiting_share": round(sum(turn.waited for turn in turns) / sum(turn.seconds for turn in turns), 4),
        "peak_memory_mib": round(turns[-1].peak_memory / 2**20),
    }


def speed(seconds: Sequence[float], batch_size: int, flops: int, ceiling: float) -> dict:
    """What the seconds of a step, one number for each turn, say.

    Args:
        seconds: of a step.
        batch_size: images of a step.
        flops: operations of a step.
        ceiling: of matrix products, in 1e12 operations a second.
    """
    median = statistics.median(seconds)
    return {
        "images_per_second": round(batch_size / median, 1),
        "ms_per_step": round(1000 * median, 3),
        "ms_of_each_turn": [round(1000 * value, 3) for value in seconds],
        "model_tflops": round(flops / median / 1e12, 2),
        "share_of_matmul": round(flops / median / 1e12 / ceiling, 4),
    }


def ratios(turns: Sequence[Turn]) -> dict[str, dict[str, dict]]:
    """Of each of ours and each peer: the peer's time over ours, turn by turn, so above 1 ours is faster."""
    seconds = {}
    for turn in turns:
        seconds.setdefault(turn.contestant, []).append(turn.seconds)
    found = {}
    for ours in (name for name in seconds if CONTESTANTS[name].ours):
        for peer in (name for name in seconds if not CONTESTANTS[name].ours):
            each = [theirs / own for theirs, own in zip(seconds[peer], seconds[ours], strict=True)]
            found.setdefault(ours, {})[peer] = {
                "median": round(statistics.median(each), 3),
                "min": round(min(each), 3),
                "max": round(max(each), 3),
                "pairs": [round(value, 3) for value in each],
            }
    return found


def markdown(content: dict) -> str:
    """The figures as a table; seconds where a GPU computed."""
    measured = [(result, name) for result in content["results"] for name in result["contestants"]]
    peers = [name for name in content["contestants"] if not CONTESTANTS[name].ours]
    peers = [name for name in peers if any(name in result["contestants"] for result in content["results"])]
    timed = "matmul_tflops" in content
    speeds = ["images/s", "ms/step", "of matmul"] if timed else []
    headings = ["case", "data", "batch", "contestant", *speeds, "waiting", "MiB", *(f"{peer} / it" for peer in peers)]
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    for result, name in measured:
        figure = result["contestants"][name]
        cells = [result["case"], result["data"], str(result["batch_size"]), name]
        if timed:
            cells += [f"{figure['images_per_second']:.0f}", f"{figure['ms_per_step']:.1f}"]
            cells.append(f"{100 * figure['share_of_matmul']:.0f} %")
        cells += [f"{100 * figure['waiting_share']:.1f} %", str(figure["peak_memory_mib"])]
        against = result["ratios"].get(name, {})
        cells += [_ratio(against[peer]) if peer in against else "-" for peer in peers]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ratio(found: dict) -> str:
    return f"{found['median']:.2f} ({found['min']:.2f} to {found['max']:.2f})"
