"""Tiny students, data, recipes and commands that several tests share."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import yaml
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as PILImage
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from modeling_deit_lt import DeiTLTConfig, DeiTLTForImageClassification
from trainer.arguments import DistillationArguments
from trainer.augmentation import HostImages, image_processor, seeded
from trainer.teachers import Teacher
from trainer.trainer import DeiTLTTrainer

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
    "dataloader_num_workers": 0,
}
TEACHER = {
    "architecture": "resnet8_cifar",
    "image_size": 8,
    "loss": "cross_entropy",
    "train_transform": "affine",
    "num_train_epochs": 12,
    "per_device_train_batch_size": 7,
    "save_strategy": "no",
    "dataloader_num_workers": 0,
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
    return HostImages(picture_dataset(counts), [transform], 8, seed)


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
        "dataloader_num_workers": 0,
    }
    return DistillationArguments(output_dir=str(folder), **{**settings, **overrides})


def image_tree(folder, counts=(12, 8, 6), test=3, size=8):
    """PNG files in train/<class> and test/<class>; test images of all classes or of each."""
    tests = (test,) * len(counts) if isinstance(test, int) else test
    for split, per_class in (("train", counts), ("test", tests)):
        rows = picture_dataset(per_class, size)
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


def command(name, *words, cwd):
    """Run one of the commands as a user does."""
    deit_lt = [sys.executable, "-m", "trainer.commands", name]
    return subprocess.run([*deit_lt, *map(str, words)], capture_output=True, text=True, cwd=cwd, timeout=300)


class RowTeacher(nn.Module):
    """A fixed function of the image: which third of it is brightest."""

    def forward(self, x):
        return x.mean(dim=(1, 3)).unfold(1, 2, 3).mean(-1)[:, :3] * 50


def teacher():
    """The fixed teacher, which needs no training."""
    return Teacher(RowTeacher(), None, (0.5,) * 3, (0.5,) * 3)


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait for the device: reading a number back, shapes that depend on values."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.equal):
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


def weights(model):
    """All parameters in one vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def step_loss(trainer, batch):
    """The loss of an optimiser step of one batch, which is mixed and labelled first, as Trainer's loop does it."""
    (batch,), _ = trainer.get_batch_samples(iter([batch]), 1, trainer.args.device)
    return trainer.compute_loss(trainer.model, batch)


def history(folder):
    """The rows of a run's history.jsonl."""
    return [json.loads(line) for line in Path(folder, "history.jsonl").read_text().splitlines()]


def train(folder, images=None, model=None, resume=None, with_teacher=True, **overrides):
    """Train a tiny student and return its trainer."""
    model = model or tiny_student()
    trainer = DeiTLTTrainer(
        model,
        arguments(folder, **overrides),
        teacher() if with_teacher else None,
        train_dataset=images or training_images(),
        processing_class=image_processor(8),
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer
