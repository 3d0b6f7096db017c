"""Measure how long a checkpoint stops the training: `python .../checkpoints.py [--device cuda] [--folder DIR]`.

For each size of student, with AdamW's moments and the weight average: seconds until the training goes on, and until
the checkpoint is whole, medians of five; and the longest that the training's Python code had to wait for its turn
meanwhile, which is what a thread of the same process can cost it.
Prints Markdown and writes scripts/results/checkpoints_<device>.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from trainer.arguments import DistillationArguments, ModelArguments
from trainer.callbacks import copied
from trainer.machine import device_in_words
from trainer.run.files import write_json
from trainer.students import build_student
from trainer.trainer import DeiTLTTrainer

RESULTS = Path(__file__).parents[1] / "results"
CLASSES, REPEATS = 10, 5
PRESETS = {"ViT-Ti": "tiny", "ViT-S": "small", "ViT-B": "base"}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda or cpu")
    parser.add_argument("--folder", type=Path, help="where the checkpoints are written for a while")
    args = parser.parse_args()
    rows = []
    for name, preset in PRESETS.items():
        with TemporaryDirectory(dir=args.folder) as folder:
            rows.append({"student": name, **measured(trainer_of(preset, folder, args.device))})
        print("| {student} | {mib:,.0f} | {stopped:.2f} | {whole:.2f} | {longest_wait:.2f} |".format(**rows[-1]))
    content = {
        "unit": "seconds, medians of five",
        "device": device_in_words(torch.device(args.device), 1, "float32"),
        "versions": {"torch": torch.__version__},
        "students": rows,
    }
    write_json(RESULTS / f"checkpoints_{args.device}.json", content)


def trainer_of(preset: str, folder: str, device: str) -> DeiTLTTrainer:
    """A trainer after its first step."""
    settings = {"ema_decay": 0.999, "save_total_limit": 1, "report_to": [], "use_cpu": device == "cpu"}
    args = DistillationArguments(output_dir=folder, **settings)
    names = [str(label) for label in range(CLASSES)]
    trainer = DeiTLTTrainer(build_student(ModelArguments(preset=preset), names, [1] * CLASSES, args), args)
    trainer.create_optimizer_and_scheduler(100)
    for parameter in trainer.model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    trainer.optimizer.step()
    trainer.ema_callback.weights = copied(trainer.model.state_dict())
    trainer._tr_loss, trainer._globalstep_last_logged = torch.zeros((), device=trainer.args.device), 0
    return trainer


def measured(trainer: DeiTLTTrainer) -> dict[str, float]:
    """Medians of a few checkpoints."""
    stopped, whole, waits = [], [], []
    for step in range(1, REPEATS + 1):
        trainer.state.global_step = step
        begin = time.perf_counter()
        trainer._save_checkpoint(trainer.model, None)
        stopped.append(time.perf_counter() - begin)
        waits.append(longest_wait(trainer))
        whole.append(time.perf_counter() - begin)
    size = sum(file.stat().st_size for file in Path(trainer.args.output_dir).rglob("*") if file.is_file())
    figures = {"stopped": stopped, "whole": whole, "longest_wait": waits}
    return {"mib": round(size / 2**20), **{name: round(statistics.median(v), 3) for name, v in figures.items()}}


def longest_wait(trainer: DeiTLTTrainer) -> float:
    """Until the checkpoint is whole: the longest time that a loop which wakes up every millisecond did not run."""
    longest, last = 0.0, time.perf_counter()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(trainer.writer.wait)
        while not waiting.done():
            time.sleep(1e-3)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
    waiting.result()
    return longest


if __name__ == "__main__":
    main()
