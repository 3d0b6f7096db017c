"""How memory, start-up and speed of a run grow with its rows, with the 8,142 classes and counts of iNaturalist-2018.

    python scripts/measurements/load.py --counts iNaturalist18_train_class_counts.json.gz --folder /tmp/load

Makes images of 16 px (from noise, class by class) as files with lists of paths, and as parquet, each at a quarter, a
half and all of the 437,513 training images, with 3 test images a class; trains a very small student for one epoch with
one worker, to the report; and samples memory (in MB, on Linux), pages of files aside: all of the main process, of its
worker what it does not share with it. Every start is a first one, in an empty cache. The check of every image,
which is paid once for a data set, is left out: `deit-lt check-data NAME ROOT --decode all` shows its seconds. Writes
scripts/results/load_cpu.json and scripts/figures/load.png; `--folder` keeps the images for another time.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import datasets
import matplotlib.pyplot as plt
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from datasets import ClassLabel, Features
from PIL import Image

from trainer.machine import device_in_words
from trainer.run.files import write_json

SCRIPTS = Path(__file__).parents[1]
SHARES = (0.25, 0.5, 1.0)
TEST_PER_CLASS = 3
SIZE = 16
RECIPE = {
    **{"preset": "tiny", "image_size": 8, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1},
    **{"num_attention_heads": 1, "intermediate_size": 16, "train_transform": "crop_flip", "crop_ratio": 1.0},
    **{"num_train_epochs": 1, "warmup_epochs": 0, "per_device_train_batch_size": 128, "ema_decay": 0, "repeats": 1},
    **{"check_images": False, "dataloader_num_workers": 1, "use_cpu": True, "disable_tqdm": True},
    **{"save_strategy": "no", "logging_steps": 20},
}


def main() -> None:
    """Make, measure, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=Path, required=True, help="JSON list of training images per class, or .gz")
    parser.add_argument("--folder", type=Path, required=True, help="where the images and runs lie")
    parser.add_argument("--kinds", nargs="+", default=["parquet", "lists"], help="parquet, lists")
    args = parser.parse_args()
    found = json.loads((gzip.open if args.counts.suffix == ".gz" else open)(args.counts, "rt").read())
    counts = np.array(found["counts"] if isinstance(found, dict) else found)
    rows = []
    for kind in args.kinds:
        for share in SHARES:
            smaller = np.maximum(1, np.rint(share * counts)).astype(int)
            in_parquet = kind == "parquet"
            data = made_parquet(args.folder, smaller) if in_parquet else made_files(args.folder, counts, smaller)
            rows.append({"kind": kind, **measured(args.folder, *data)})
            print(json.dumps(rows[-1]), flush=True)
    device = device_in_words(torch.device("cpu"), 1, "float32")
    write_json(SCRIPTS / "results" / "load_cpu.json", {"device": device, "pixels": SIZE, "runs": rows})
    draw(rows, SCRIPTS / "figures" / "load.png")


def made_parquet(folder: Path, counts: np.ndarray) -> tuple[Path, dict]:
    """Parquet files of so many images per class; those that are there already are taken."""
    place = folder / f"parquet-{counts.sum()}"
    if not place.is_dir():
        unfinished = folder / "unfinished"
        unfinished.mkdir(parents=True)
        for split, per_class in splits(counts):
            write_parquet(unfinished / f"{split}-00000-of-00001.parquet", np.repeat(np.arange(len(counts)), per_class))
        unfinished.rename(place)
    return place, {}


def made_files(folder: Path, counts: np.ndarray, listed: np.ndarray) -> tuple[Path, dict]:
    """Files of all images, made once, and lists of the first few of each class."""
    place = folder / "files"
    if not (place / "complete").is_file():
        for split, per_class in splits(counts):
            for label, number in enumerate(per_class):
                (place / split / str(label)).mkdir(parents=True, exist_ok=True)
                for index in range(number):
                    (place / split / str(label) / f"{index}.jpg").write_bytes(picture(label, index))
        (place / "complete").touch()
    lists = {}
    for split, per_class in splits(listed):
        lists[f"{split}_list"] = f"{split}-{listed.sum()}.txt"
        lines = (f"{split}/{c}/{i}.jpg {c}" for c, number in enumerate(per_class) for i in range(number))
        (place / lists[f"{split}_list"]).write_text("\n".join(lines) + "\n")
    return place, lists


def splits(counts: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Images per class of both splits."""
    return [("train", counts), ("test", np.full(len(counts), TEST_PER_CLASS))]


def picture(label: int, row: int) -> bytes:
    """A JPEG whose colour tells the class, a little."""
    pixels = (
        np.random.default_rng(row).integers(0, 96, (SIZE, SIZE, 3))
        + np.array([label % 21, label // 21 % 21, label // 441]) * 7
    )
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_parquet(file: Path, labels: np.ndarray) -> None:
    """A file with the bytes of all images."""
    names = [str(c) for c in range(labels.max() + 1)]
    features = Features({"image": datasets.Image(), "label": ClassLabel(names=names)})
    with pq.ParquetWriter(file, features.arrow_schema) as writer:
        for start in range(0, len(labels), 10_000):
            part = labels[start : start + 10_000].tolist()
            images = [{"bytes": picture(label, start + i), "path": None} for i, label in enumerate(part)]
            writer.write_table(pa.table({"image": images, "label": part}, features.arrow_schema))


def measured(folder: Path, data: Path, lists: dict) -> dict:
    """A run on a data set: its seconds by stage, its speed, and the most memory of its processes."""
    output = folder / f"run-{time.time_ns()}"
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, **lists, "dataset": str(data), "output_dir": str(output)}))
    begin = time.perf_counter()
    run = subprocess.Popen(
        [sys.executable, "-m", "trainer.commands", "finetune", str(recipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=os.environ | {"HF_HOME": str(output / "cache")},
    )
    memory = Memory(run.pid)
    marks = {}
    for line in run.stdout:
        for word, mark in (("schedule", "banner"), ("student ", "training"), ("expert", "report")):
            if line.startswith(word) and mark not in marks and (mark != "training" or "banner" in marks):
                marks[mark] = round(time.perf_counter() - begin, 1)
                memory.training = mark == "training"
    if run.wait():
        raise SystemExit(f"the run on {data} failed; see {output}")
    metrics = json.loads((output / "metrics.json").read_text())
    return {
        "rows": sum(metrics["class_counts"]),
        "classes": len(metrics["class_counts"]),
        "seconds_to_banner": marks["banner"],
        "seconds": round(time.perf_counter() - begin, 1),
        "images_per_second": metrics["images_per_second"],
        **memory.figures(),
    }


class Memory(threading.Thread):
    """Samples the memory of a process and of its workers until it ends."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.process, self.training = psutil.Process(pid), False
        self.samples: list[tuple[bool, int, int]] = []
        self.start()

    def run(self) -> None:
        """Twice a second."""
        while self.process.is_running():
            time.sleep(0.5)
            try:
                main = sum(part.anonymous for part in self.process.memory_maps(grouped=False))
                workers = [not_shared(child) for child in self.process.children()]
            except psutil.Error:  # one of them has just ended
                continue
            self.samples.append((self.training, main >> 20, max(workers, default=0) >> 20))

    def figures(self) -> dict[str, int]:
        """MB: the median while it trained, which the seconds of the test hardly touch; the most of the whole run."""
        _, *training = np.median([sample for sample in self.samples if sample[0]], axis=0).astype(int).tolist()
        _, *most = np.max(self.samples, axis=0).tolist()
        return dict(zip(("main_mb", "worker_mb", "main_mb_most", "worker_mb_most"), training + most, strict=True))


def not_shared(process: psutil.Process) -> int:
    """Bytes that a process alone has, but for pages of files, which a system drops when it needs room."""
    return sum(min(part.anonymous, part.private_dirty) for part in process.memory_maps(grouped=False))


def draw(rows: list[dict], file: Path) -> None:
    """Figures over rows, a line for each kind of data."""
    panels = {
        "seconds_to_banner": "start-up, s",
        "main_mb": "main process in training, MB",
        "worker_mb": "worker in training, MB",
        "images_per_second": "images per second",
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(14, 3.4), layout="constrained")
    for axis, (key, title) in zip(axes, panels.items(), strict=True):
        for kind in dict.fromkeys(row["kind"] for row in rows):
            chosen = [row for row in rows if row["kind"] == kind]
            axis.plot([row["rows"] / 1000 for row in chosen], [row[key] for row in chosen], "o-", label=kind)
        axis.set(title=title, xlabel="training images, thousands", ylim=(0, None))
    axes[0].legend()
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
