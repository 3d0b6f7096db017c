"""Tiny students, data, recipes and commands that several tests share."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as PILImage

from modeling_deit_lt import DeiTLTConfig, DeiTLTForImageClassification
from trainer.arguments import DistillationArguments
from trainer.augmentation import TrainingImages, seeded, train_transform

SCRIPTS = Path(__file__).parents[1] / "scripts"
RECIPE = {
    "rho": None,
    "preset": "tiny",
    "image_size": 8,
    "patch_size": 4,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "teacher": "teacher.yaml",
    "train_transform": "affine",
    "crop_ratio": 1.0,
    "num_train_epochs": 3,
    "warmup_epochs": 1,
    "drw_start_epoch": 2,
    "per_device_train_batch_size": 7,
    "use_cpu": True,
    "disable_tqdm": True,
}
TEACHER = {
    "architecture": "resnet8_cifar",
    "image_size": 8,
    "loss": "cross_entropy",
    "train_transform": "affine",
    "num_train_epochs": 12,
    "per_device_train_batch_size": 7,
    "save_strategy": "no",
}


def picture_dataset(counts=(8, 5, 3), size=8):
    """Noisy pictures whose brightness tells the class."""
    rng = np.random.default_rng(0)
    images, labels = [], []
    for label, count in enumerate(counts):
        for _ in range(count):
            dark, bright = 255 * label // len(counts), 255 * (label + 1) // len(counts)
            pixels = rng.integers(dark, bright, (size, size, 3), dtype=np.uint8)
            images.append(PILImage.fromarray(pixels))
            labels.append(label)
    features = Features({"image": Image(), "label": ClassLabel(names=[f"level{c}" for c in range(len(counts))])})
    return Dataset.from_dict({"image": images, "label": labels}, features)


def training_images(counts=(8, 5, 3), transform="affine", seed=0):
    """Augmented 8-pixel images."""
    return TrainingImages(picture_dataset(counts), train_transform(transform, 8), seed)


def tiny_student(counts=(8, 5, 3), seed=0, **overrides):
    """A student of two layers for 8-pixel images, the same for the same seed."""
    settings = {"image_size": 8, "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = DeiTLTConfig(
        **{**settings, "intermediate_size": 32, "class_counts": list(counts), "num_labels": len(counts), **overrides}
    )
    with seeded(seed):
        return DeiTLTForImageClassification(config)


def arguments(folder, **overrides):
    """Arguments of a short run on the CPU that writes nothing but its history."""
    settings = {
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "warmup_epochs": 0.5,
        "save_strategy": "no",
        "logging_steps": 1,
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return DistillationArguments(output_dir=str(folder), **{**settings, **overrides})


def image_tree(folder, counts=(12, 8, 6), test=3):
    """PNG files in train/<class> and test/<class>."""
    for split, per_class in (("train", counts), ("test", (test,) * len(counts))):
        rows = picture_dataset(per_class)
        for index, row in enumerate(rows):
            path = folder / split / rows.features["label"].names[row["label"]] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            row["image"].save(path)
    return folder


def write_recipe(folder, **changes):
    """A student recipe and its teacher's beside it."""
    (folder / "teacher.yaml").write_text(yaml.safe_dump(TEACHER))
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return path


def command(script, *words, cwd):
    """Run one of the scripts as a user does."""
    return subprocess.run(
        [sys.executable, str(SCRIPTS / script), *map(str, words)], capture_output=True, text=True, cwd=cwd, timeout=300
    )
