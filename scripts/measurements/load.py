"""How memory, start-up and speed of a run grow with its rows, with the 8,142 classes and counts of iNaturalist-2018.

    python scripts/measurements/load.py --counts iNaturalist18_train_class_counts.json.gz --folder /tmp/load

Makes images of 16 px (from noise, class by class) as files with lists of paths, and as parquet, each at a quarter, a
half and all of the 437,513 training images, with 3 test images a class; trains a very small student for one epoch with
one worker, to the report; and samples the memory of the main process and its worker (psutil's USS: what is theirs
alone, in MB). Writes scripts/results/load_cpu.json and scripts/figures/load.png; `--folder` keeps the images for
another time.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
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
    **{"num_train_epochs": 1, "warmup_epochs": 0, "per_device_train_batch_size": 512, "ema_decay": 0, "repeats": 1},
    **{"dataloader_num_workers": 1, "use_cpu": True, "save_strategy": "no", "logging_steps": 20, "disable_tqdm": True},
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
            data = made(args.folder, kind, np.maximum(1, np.rint(share * counts)).astype(int))
            # Twice: at the first run the images are checked, and parquet is copied; the second finds that remembered.
            for start in ("first", "again"):
                rows.append({"kind": kind, "start": start, **measured(args.folder, data)})
                print(json.dumps(rows[-1]), flush=True)
    device = device_in_words(torch.device("cpu"), 1, "float32")
    write_json(SCRIPTS / "results" / "load_cpu.json", {"device": device, "pixels": SIZE, "runs": rows})
    draw(rows, SCRIPTS / "figures" / "load.png")


def made(folder: Path, kind: str, counts: np.ndarray) -> Path:
    """A data set of so many images per class; one that is there already is taken."""
    place = folder / f"{kind}-{counts.sum()}"
    if not (place / "complete").is_file():
        place.mkdir(parents=True, exist_ok=True)
        for split, per_class in (("train", counts), ("test", np.full(len(counts), TEST_PER_CLASS))):
            (write_parquet if kind == "parquet" else write_files)(
                place, split, np.repeat(np.arange(len(counts)), per_class)
            )
        (place / "complete").touch()
    return place


def picture(label: int, row: int) -> bytes:
    """A JPEG whose colour tells the class, a little."""
    pixels = (
        np.random.default_rng(row).integers(0, 96, (SIZE, SIZE, 3))
        + np.array([label % 21, label // 21 % 21, label // 441]) * 7
    )
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_parquet(place: Path, split: str, labels: np.ndarray) -> None:
    """One file with the bytes of all images."""
    features = {
        "info": {
            "features": {
                "image": {"_type": "Image"},
                "label": {"names": [str(c) for c in range(labels.max() + 1)], "_type": "ClassLabel"},
            }
        }
    }
    kinds = pa.schema(
        {"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "label": pa.int64()},
        {"huggingface": json.dumps(features)},
    )
    with pq.ParquetWriter(place / f"{split}-00000-of-00001.parquet", kinds) as writer:
        for start in range(0, len(labels), 10_000):
            part = labels[start : start + 10_000].tolist()
            images = [{"bytes": picture(label, start + i), "path": None} for i, label in enumerate(part)]
            writer.write_table(pa.table({"image": images, "label": part}, kinds))


def write_files(place: Path, split: str, labels: np.ndarray) -> None:
    """Files of images, a folder per class, and the list of them."""
    with (place / f"{split}.txt").open("w") as listed:
        for row, label in enumerate(labels.tolist()):
            file = place / split / str(label) / f"{row}.jpg"
            if row == 0 or labels[row - 1] != label:
                file.parent.mkdir(parents=True)
            file.write_bytes(picture(label, row))
            listed.write(f"{split}/{label}/{row}.jpg {label}\n")


def measured(folder: Path, data: Path) -> dict:
    """A run on a data set: its seconds by stage, its speed, and the most memory of its processes."""
    output = folder / f"run-{data.name}-{time.time_ns()}"
    lists = (
        {}
        if (data / "train-00000-of-00001.parquet").exists()
        else {"train_list": "train.txt", "test_list": "test.txt"}
    )
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, **lists, "dataset": str(data), "output_dir": str(output)}))
    begin = time.perf_counter()
    run = subprocess.Popen(
        [sys.executable, "-m", "trainer.commands", "finetune", str(recipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
    )
    memory = Memory(run.pid)
    marks = {}
    for line in run.stdout:
        for word, mark in (("schedule", "banner"), ("student ", "first_log"), ("expert", "report")):
            if line.startswith(word) and mark not in marks and (mark != "first_log" or "banner" in marks):
                marks[mark] = round(time.perf_counter() - begin, 1)
                memory.stage = mark
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
    """Samples the memory of a process and of its children until it ends."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.process, self.stage = psutil.Process(pid), "start"
        self.main: dict[str, float] = {}
        self.worker: dict[str, float] = {}
        self.start()

    def run(self) -> None:
        """Every fifth of a second."""
        while True:
            try:
                own = self.process.memory_full_info().uss / 2**20
                # The loader's workers; what else a run starts ends at once.
                children = [child.memory_full_info().uss / 2**20 for child in self.process.children()]
            except psutil.Error:
                return
            self.main[self.stage] = max(self.main.get(self.stage, 0), own)
            self.worker[self.stage] = max([self.worker.get(self.stage, 0), *children])
            time.sleep(0.2)

    def figures(self) -> dict[str, float]:
        """MB: until the training begins, in the training, and from the tests to the end."""
        training = max(self.main.get("banner", 0), self.main.get("first_log", 0))
        workers = max(self.worker.get("banner", 0), self.worker.get("first_log", 0))
        return {
            "main_mb_before_training": round(self.main["start"]),
            "main_mb_in_training_and_tests": round(training),
            "main_mb_in_report": round(self.main.get("report", 0)),
            "worker_mb": round(workers),
        }


def draw(rows: list[dict], file: Path) -> None:
    """Figures over rows, a line for each kind of data."""
    panels = {
        "seconds_to_banner": "start-up, s",
        "main_mb_in_training_and_tests": "main process, MB",
        "worker_mb": "worker, MB",
        "images_per_second": "images per second",
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(14, 3.4), layout="constrained")
    for axis, (key, title) in zip(axes, panels.items(), strict=True):
        for kind in dict.fromkeys(row["kind"] for row in rows):
            for start, style in (("first", "o-"), ("again", "s--")):
                chosen = [row for row in rows if (row["kind"], row["start"]) == (kind, start)]
                axis.plot(
                    [row["rows"] / 1000 for row in chosen],
                    [row[key] for row in chosen],
                    style,
                    label=f"{kind}, {start} run",
                )
        axis.set(title=title, xlabel="training images, thousands", ylim=(0, None))
    axes[0].legend(fontsize=8)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
