"""Compare the two image pipelines: speed on one core, and a sheet of the same images by both.

    python scripts/measurements/image_pipelines.py

For each training transform, at 32 and at 224 px: how many times as many images a second the device pipeline prepares
on CPU tensors as the host pipeline, both on one thread, in turns, from pictures of 32 px in memory. Writes
scripts/results/image_pipelines_cpu.json and scripts/figures/image_pipelines.png.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, Image
from matplotlib import pyplot as plt
from PIL import Image as PILImage

from trainer.augmentation import TRAIN_TRANSFORMS, ImageKey, TrainingImages, collate, training_images
from trainer.data import load_long_tailed
from trainer.machine import device_in_words
from trainer.run.files import write_json

SCRIPTS = Path(__file__).parents[1]
PAIRS = 7
BATCH = 64
CPU = torch.device("cpu")
# Images of a turn: at 32 px a training augments a whole epoch at once, at 224 px of real sets a batch.
TURNS = {32: 2048, 224: BATCH}


def main() -> None:
    """Measure, print, draw, write."""
    torch.set_num_threads(1)
    rows = []
    for size, count in TURNS.items():
        for name in TRAIN_TRANSFORMS:
            rows.append({"image_size": size, "transform": name, **compared(name, size, count)})
            print(rows[-1], flush=True)
    content = {
        "what": "images a second of the device pipeline over those of the host pipeline, one thread, 32 px pictures",
        "device": device_in_words(CPU, 1, "float32"),
        "pairs": PAIRS,
        "rows": rows,
    }
    write_json(SCRIPTS / "results" / "image_pipelines_cpu.json", content)
    contact_sheet(SCRIPTS / "figures" / "image_pipelines.png")


def pictures(count: int, size: int = 32) -> Dataset:
    """Smooth coloured pictures with some texture, as photographs have."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        coarse = PILImage.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((size, size), 3)
        pixels = np.asarray(coarse) + rng.normal(0, 8, (size, size, 3))
        made.append(PILImage.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))
    features = Features({"image": Image(), "label": ClassLabel(names=["0", "1"])})
    return Dataset.from_dict({"image": made, "label": [row % 2 for row in range(count)]}, features)


def compared(name: str, size: int, count: int) -> dict:
    """The ratio of the two pipelines, pair by pair: median, least and largest; and milliseconds of each."""
    rows = pictures(count)
    both = [training_images(pipeline, rows, [name], size, CPU, 0) for pipeline in ("host", "device")]
    seconds = [[one_turn(images, epoch, count) for images in both] for epoch in range(PAIRS + 1)]
    del seconds[0]  # in which caches fill
    ratios = sorted(host / device for host, device in seconds)
    host, device = (statistics.median(column) / count for column in zip(*seconds, strict=True))
    return {
        "ratio": round(statistics.median(ratios), 2),
        "least": round(ratios[0], 2),
        "largest": round(ratios[-1], 2),
        "host_ms_an_image": round(1e3 * host, 3),
        "device_ms_an_image": round(1e3 * device, 3),
    }


def one_turn(images: TrainingImages, epoch: int, count: int) -> float:
    """Seconds of an epoch of this pipeline's images."""
    start = time.process_time()
    if hasattr(images, "augment_epoch") and count > BATCH:
        images.augment_epoch(epoch, np.arange(count))
    for first in range(0, count, BATCH):
        keys = [ImageKey(row, epoch, row) for row in range(first, min(first + BATCH, count))]
        images.finish(collate(images.__getitems__(keys)))
    return time.process_time() - start


def contact_sheet(path: Path, count: int = 32, size: int = 32) -> None:
    """The same images by both pipelines, side by side: the draws differ, the kinds of pictures must not."""
    digits = load_long_tailed("digits")["train"].select(range(count // 2))["image"]
    both = [*pictures(count // 2)["image"], *(digit.convert("RGB").resize((size, size)) for digit in digits)]
    features = Features({"image": Image(), "label": ClassLabel(names=["0"])})
    rows = Dataset.from_dict({"image": both, "label": [0] * count}, features)
    keys = [ImageKey(row, 0, row) for row in range(count)]
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.2), layout="constrained")
    for axis, pipeline in zip(axes, ("host", "device"), strict=True):
        images = training_images(pipeline, rows, ["paper"], size, CPU, 0)
        pixels = images.finish(collate(images.__getitems__(keys)))["pixel_values"]
        pixels = pixels * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        pixels = (pixels + torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)).clamp(0, 1)
        sheet = pixels.unflatten(0, (-1, 8)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
        axis.imshow(sheet.numpy())
        axis.set_title(f"image_pipeline {pipeline}")
        axis.axis("off")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
