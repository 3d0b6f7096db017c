"""How fast a training step is, beside timm's.

Contestants train the same network on the same images, each in a process of its own, and take turns of a few steps.
The table says how many times as long timm took as each of ours (above 1: ours is faster), the share of the time that a
training waited for its images, and its peak memory; on a GPU also images a second, and the share that its arithmetic
has of what matrix products reach. On a CPU batches are small, and ratios are all that counts.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.benchmark import CASES, CONTESTANTS, DATA, Benchmark, markdown, plot_ratios
from trainer.benchmark.cases import ON_A_CPU
from trainer.benchmark.measure import KIND
from trainer.commands.parser import CommandParser
from trainer.errors import RunError, SettingError
from trainer.parsing import closest, make, shown
from trainer.run.files import read_json, write_json
from trainer.settings import check_ranges, setting
from trainer.stopping import raise_terminated

WORDS = {"[CASE ...]": f"of {', '.join(CASES)}; not given: all on a GPU, {' and '.join(ON_A_CPU)} on a CPU"}


@dataclass
class BenchmarkArguments:
    """What is measured, how often, and where it goes."""

    _argument_group_name = "Benchmark"

    contestants: list[str] = setting(list(CONTESTANTS), f"Of {', '.join(CONTESTANTS)}.")
    data: list[str] = setting(
        list(DATA),
        "synthetic: tensors that are there already; host and device: image files by that image_pipeline, which timm's "
        "loop has on the host alone.",
    )
    pairs: int = setting(5, "Turns of each contestant.")
    steps: int = setting(10, "Optimiser steps of a turn.")
    batch_size: int | None = setting(None, "Images of a step, an even number; the case's if not given.")
    results: str = setting("runs/benchmark/results.json", "Result file; that of an earlier benchmark is replaced.")
    plot: str | None = setting(None, "PNG file of a picture of what was measured.")
    use_cpu: bool = setting(False, "Do not use an accelerator.")

    def __post_init__(self):
        check_ranges(self, {"pairs": "[1, 10000]", "steps": "[1, 100000]", "batch_size": "[2, 65536]"})
        if self.batch_size is not None and self.batch_size % 2:
            raise ValueError(f"batch_size must be even, since timm mixes images in pairs, got {self.batch_size}")
        if self.plot is not None and not self.plot.endswith(".png"):
            raise ValueError(f"plot must end in .png, got {shown(self.plot)}")
        _check_names("contestants", self.contestants, CONTESTANTS)
        _check_names("data", self.data, DATA)


def main(words: list[str]) -> None:
    """Measure, write, print, draw."""
    cases, given = CommandParser("benchmark", __doc__, BenchmarkArguments, words=WORDS).parse(words)
    asked = make(BenchmarkArguments, given)
    cases = cases or default_cases(asked)
    check(cases, asked)
    results = Path(asked.results)
    settings = {
        name: getattr(asked, name) for name in ("contestants", "data", "pairs", "steps", "batch_size", "use_cpu")
    }
    benchmark = Benchmark(cases, **settings)
    results.parent.mkdir(parents=True, exist_ok=True)
    with raise_terminated():
        for content in benchmark.run(say=lambda line: print(line, file=sys.stderr, flush=True)):
            write_json(results, content)
    print(markdown(content))
    if asked.plot is not None:
        plot_ratios(content, Path(asked.plot))


def default_cases(asked: BenchmarkArguments) -> list[str]:
    """Where none are named: those that have a contestant that is asked for, on a CPU of a few."""
    cases = CASES if torch.cuda.is_available() and not asked.use_cpu else ON_A_CPU
    return [name for name in cases if taking_part(name, asked)] or list(cases)


def check(cases: list[str], asked: BenchmarkArguments) -> None:
    """Refuse what cannot be measured or written, before anything is spent.

    Raises:
        SettingError: a case is not known or named twice, or has none of the contestants.
        RunError: the result file holds something else.
    """
    try:
        _check_names("cases", cases, CASES)
    except ValueError as error:
        raise SettingError(str(error)) from error
    for name in cases:
        if not taking_part(name, asked):
            raise SettingError(f"{name} has the contestants {', '.join(CASES[name].contestants)}; name one of them")
    results = Path(asked.results)
    if results.exists() and (not results.is_file() or read_json(results).get("kind") != KIND):
        raise RunError(f"{results} holds something else than a benchmark; name another file with --results")


def taking_part(case: str, asked: BenchmarkArguments) -> list[str]:
    """The contestants of a case among those that are asked for."""
    return [name for name in asked.contestants if name in CASES[case].contestants]


def _check_names(what: str, names: list[str], known: dict) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{what} must be of {', '.join(known)}, got {shown(name)}{closest(name, known, '', '')}")
    if len(set(names)) < len(names):
        raise ValueError(f"{what}: give each once, got {' '.join(names)}")
