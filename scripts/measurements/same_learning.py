"""Train 200 steps from the same start with the host and with the device pipeline, three seeds each.

    python scripts/measurements/same_learning.py

A small student without a teacher on the long-tailed digits, mixing, DRW for the last fifth; by "affine", with which
digits are learnt in 200 steps, and by "paper", whose crops and flips they bear badly. Writes
scripts/results/same_learning_cpu.json: the last loss and the balanced test accuracy of each run, and whether the means
of the two pipelines lie within the spread of the seeds.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import torch

from trainer import DeiTLTTrainer, DistillationArguments
from trainer.arguments import ModelArguments
from trainer.callbacks import read_history
from trainer.data import class_counts, load_long_tailed
from trainer.machine import device_in_words
from trainer.run.files import write_json
from trainer.students import build_student

RESULTS = Path(__file__).parents[1] / "results" / "same_learning_cpu.json"
SEEDS = (0, 1, 2)
BATCH = 64
STEPS = 200


def main() -> None:
    """Train six times, compare, write."""
    data = load_long_tailed("digits", rho=20, max_per_class=120)
    device = device_in_words(torch.device("cpu"), 1, "float32")
    content = {"steps": STEPS, "batch": BATCH, "seeds": SEEDS, "device": device}
    for transform in ("affine", "paper"):
        found = {name: [trained(name, transform, seed, data) for seed in SEEDS] for name in ("host", "device")}
        content[transform] = {"runs": found, "summary": summary_of(found)}
        print(transform, content[transform]["summary"], flush=True)
    write_json(RESULTS, content)


def summary_of(found: dict[str, list[dict]]) -> dict:
    """How far apart the means of the two pipelines are, and the spread of the seeds."""
    summary = {}
    for figure in ("loss", "balanced_accuracy"):
        host, device = ([run[figure] for run in found[pipeline]] for pipeline in ("host", "device"))
        spread = max(max(host) - min(host), max(device) - min(device))
        apart = abs(statistics.fmean(host) - statistics.fmean(device))
        summary[figure] = {"apart": round(apart, 4), "spread": round(spread, 4), "within": apart <= spread}
    return summary


def trained(pipeline: str, transform: str, seed: int, data) -> dict:
    """Loss of the last 20 steps and balanced accuracy on the test split."""
    counts, names = class_counts(data["train"]).tolist(), data["train"].features["label"].names
    epochs = STEPS / -(-sum(counts) // BATCH)
    with tempfile.TemporaryDirectory() as folder:
        args = DistillationArguments(
            output_dir=folder,
            image_pipeline=pipeline,
            seed=seed,
            num_train_epochs=epochs,
            warmup_epochs=epochs / 10,
            drw_start_epoch=int(0.8 * epochs),
            per_device_train_batch_size=BATCH,
            base_learning_rate=1.6e-2,
            train_transform=transform,
            mixing_probability=0.5,
            crop_ratio=1.0,
            repeats=1,
            ema_decay=0.0,
            dataloader_num_workers=0,
            logging_steps=20,
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        )
        size = ModelArguments(
            preset="tiny", image_size=16, patch_size=4, hidden_size=64, num_hidden_layers=4, num_attention_heads=4,
            intermediate_size=256, drop_path_rate=0.0,
        )  # fmt: skip
        trainer = DeiTLTTrainer(
            build_student(size, names, counts, args), args, train_dataset=data["train"], eval_dataset=data["test"]
        )
        trainer.train()
        metrics = trainer.evaluate()
        losses = [row["loss"] for row in read_history(folder) if "loss" in row]
    return {"loss": losses[-1], "balanced_accuracy": metrics["eval_mean_balanced_accuracy"]}


if __name__ == "__main__":
    main()
