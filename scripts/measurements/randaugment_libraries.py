"""RandAugment by timm, kornia, torchvision v2 and the device pipeline: images a second on one thread, in turns.

    pip install kornia
    python scripts/measurements/randaugment_libraries.py

kornia and torchvision draw once for a whole batch; with draws for each image they have to be called image by image.
Both are measured. Writes scripts/results/randaugment_libraries_cpu.json.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from kornia.augmentation.auto import RandAugment as KorniaRandAugment
from timm.data.auto_augment import RandAugment
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.functional import to_pil_image

from trainer.augmentation import train_transform
from trainer.augmentation.randaugment import FILL, PAPER, apply_randaugment, draw_randaugment
from trainer.machine import device_in_words
from trainer.run.files import write_json

RESULTS = Path(__file__).parents[1] / "results" / "randaugment_libraries_cpu.json"
TURNS = 7
BATCHES = {32: 2048, 224: 64}
SINGLE = {32: 256, 224: 32}  # images of a turn where they are taken one by one
DRAWS = 12  # batches of a turn where each has one draw, so that a turn has several


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    content = {
        "what": "images a second; timm: from and to tensors; batch: one draw for all images; each: image by image",
        "device": device_in_words(torch.device("cpu"), 1, "float32"),
        "versions": {name: version(name) for name in ("torch", "torchvision", "timm", "pillow", "kornia")},
    }
    for size in BATCHES:
        content[f"{size} px"] = measured(ways(size))
        print(size, content[f"{size} px"], flush=True)
    write_json(RESULTS, content)


def ways(size: int) -> dict[str, Callable[[], int]]:
    """By name what augments some images and tells how many."""
    count, single = BATCHES[size], SINGLE[size]
    images = F.interpolate(torch.rand(count, 3, size // 8, size // 8), size=(size, size), mode="bicubic").clamp(0, 1)
    floats, images = images, (255 * images).to(torch.uint8)
    pictures, generator = [to_pil_image(image) for image in images], torch.Generator().manual_seed(0)
    timm = next(step for step in train_transform("paper", size).transforms if isinstance(step, RandAugment))
    kornia = KorniaRandAugment(n=2, m=27)  # of 30
    torchvision = v2.RandAugment(2, 27, interpolation=InterpolationMode.BILINEAR, fill=list(FILL))

    def each(function: Callable, rows: torch.Tensor) -> int:
        for row in range(single):
            function(rows[row : row + 1])
        return single

    def batch(function: Callable, rows: torch.Tensor) -> int:
        for _ in range(DRAWS):
            function(rows)
        return DRAWS * count

    return {
        "timm": lambda: len([np.asarray(timm(picture)) for picture in pictures]),
        "ours": lambda: len(apply_randaugment(PAPER, images, draw_randaugment(PAPER, count, generator))),
        "kornia_batch": lambda: batch(kornia, floats),
        "kornia_each": lambda: each(kornia, floats),
        "torchvision_batch": lambda: batch(torchvision, images),
        "torchvision_each": lambda: each(torchvision, images),
    }


@torch.no_grad()
def measured(functions: dict[str, Callable[[], int]]) -> dict[str, dict[str, float]]:
    """Medians of images a second, and of the time of each over ours, turn by turn."""
    seconds = {name: [] for name in functions}
    for _ in range(TURNS + 1):
        for name, function in functions.items():
            start = time.process_time()
            count = function()
            seconds[name].append((time.process_time() - start) / count)
    kept = {name: times[1:] for name, times in seconds.items()}  # the first turn warms caches
    per_second = {name: round(1 / statistics.median(times)) for name, times in kept.items()}
    ratios = {
        name: round(statistics.median(a / b for a, b in zip(times, kept["ours"], strict=True)), 2)
        for name, times in kept.items()
    }
    return {"images_per_second": per_second, "time_over_ours": ratios}


if __name__ == "__main__":
    main()
