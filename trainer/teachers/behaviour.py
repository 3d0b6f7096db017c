"""Accuracy of a teacher on the student's images, the measurement of Table 1 of DeiT-LT (arXiv 2404.02900)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader
from transformers import BaseImageProcessor
from transformers.trainer_pt_utils import EvalLoopContainer

from trainer.augmentation import BatchMixing, EvaluationImages, ImageKey, TrainingImages, TrainingSampler, collate
from trainer.augmentation.mixing import mirrored
from trainer.data import class_counts
from trainer.errors import TeacherError
from trainer.evaluation import Predictions, expert_report, head_mid_tail
from trainer.predicting import reduced
from trainer.teachers.loading import Teacher


def behaviour_on_test_images(
    teacher: Teacher, images: EvaluationImages, counts, boundaries, device: torch.device, batch_size: int = 64
) -> dict[str, dict]:
    """The expert report of a teacher that sees the test images as the student does.

    Args:
        teacher: as the trainer uses it.
        images: at the student's size, in its normalisation.
        counts: (C,) training images per class.
        boundaries: of head/mid/tail, as `head_mid_tail` takes them.
        device: where to run, in float32.
        batch_size: Default 64.

    Returns:
        `expert_report`'s, with the one expert "teacher".

    Raises:
        TeacherError: its outputs are not finite.
    """
    teacher, rows = teacher.to(device), EvalLoopContainer()
    for batch in DataLoader(images, batch_size=batch_size):
        rows.add((reduced(teacher(batch["pixel_values"].to(device))), batch["labels"]))
    pair, labels = rows.get_arrays()
    predictions = Predictions(*pair)
    if np.isnan(predictions.confidence).any():
        raise TeacherError("the teacher's outputs on the test images are not finite; check its weights")
    return expert_report({"teacher": predictions}, labels, counts, boundaries)


def behaviour_on_training_images(
    teacher: Teacher,
    images: TrainingImages,
    sampler: TrainingSampler,
    processor: BaseImageProcessor,
    mixing: BatchMixing,
    boundaries,
    device: torch.device,
    num_images: int = 10000,
    num_workers: int = 0,
) -> dict[str, dict]:
    """How often a teacher agrees with the labels of the training images, plain, augmented and mixed.

    The images are those that a student's training shows first, on one rank and without accumulation: as many epochs
    as it takes, augmented as there, and mixed in the same batches.

    Args:
        teacher: as the trainer uses it.
        images: the student's training images.
        sampler: the student's, which says how large a batch is.
        processor: the evaluation transform, of the view "plain".
        mixing: the student's.
        boundaries: of head/mid/tail, as `head_mid_tail` takes them.
        device: where to run, in float32.
        num_images: drawn images, rounded up to whole batches. Default 10,000.
        num_workers: processes that transform images. Default 0.

    Returns:
        {"plain", "augmented", "mixed"} -> figures in percent. `accuracy`: the arg max is the label, of a mixed image
        the label with the larger share. `balanced_accuracy` and `head`, `mid`, `tail`: means of the drawn classes'
        accuracies (None for a group without). `teacher_labels` and `true_labels`: the share of each group among the
        teacher's answers and among the labels. "mixed" has `either` too, the arg max is one of the two labels, and
        `mixed_images`, the share of its images that were mixed at all. `images` is a number.
    """
    teacher = teacher.to(device)
    keys = list(_first_batches(sampler, num_images))
    rows, places = np.unique([key.row for batch in keys for key in batch], return_inverse=True)
    plain_images = EvaluationImages(images.dataset, processor)
    plain, augmented, mixed = [], [], []
    for batch in DataLoader(plain_images, sampler.batch_size, sampler=rows.tolist(), num_workers=num_workers):
        plain.append(_answers(teacher, batch["pixel_values"].to(device), batch["labels"].to(device)))
    loader = DataLoader(images, batch_sampler=keys, num_workers=num_workers, collate_fn=collate)
    for step, batch in enumerate(map(images.finish, loader)):
        pixels, labels = batch["pixel_values"].to(device), batch["labels"].to(device)
        augmented.append(_answers(teacher, pixels, labels))
        mixed.append(_mixed_answers(teacher, mixing, pixels, labels, step))
    groups = head_mid_tail(class_counts(images.dataset), boundaries)
    answers, labels, first, second, was_mixed = torch.cat(mixed, dim=1).cpu().numpy()
    return {
        "plain": _figures(*torch.cat(plain, dim=1).cpu().numpy()[:, places], groups),
        "augmented": _figures(*torch.cat(augmented, dim=1).cpu().numpy(), groups),
        "mixed": {
            **_figures(answers, labels, groups),
            "either": _percent((answers == first) | (answers == second)),
            "mixed_images": _percent(was_mixed),
        },
    }


def _first_batches(sampler: TrainingSampler, num_images: int) -> Iterator[list[ImageKey]]:
    """The keys of a training's first batches, until there are enough images."""
    drawn = 0
    for epoch in itertools.count():
        sampler.set_epoch(epoch)
        for batch in BatchSampler(sampler, sampler.batch_size, drop_last=False):
            if drawn >= num_images:
                return
            drawn += len(batch)
            yield batch


def _answers(teacher: Teacher, pixels: Tensor, labels: Tensor) -> Tensor:
    """(2, B) on the device, since reading it would make every batch wait: the teacher's arg max and the label."""
    return torch.stack([teacher(pixels).argmax(-1), labels])


def _mixed_answers(teacher: Teacher, mixing: BatchMixing, pixels: Tensor, labels: Tensor, step: int) -> Tensor:
    """(5, B): arg max, label with the larger share, own label, partner's label, whether the image was mixed."""
    before, own = mirrored(pixels), mirrored(labels)
    even = len(own) // 2 * 2  # the last image of an odd batch is its own partner
    partners = torch.cat([own[:even].flip(0), own[even:]])
    pixels, shares = mixing(pixels, labels, step)
    was_mixed = (pixels != before).flatten(1).any(1)
    second = torch.where(was_mixed, partners, own)  # some batches are left unmixed, some boxes are empty
    return torch.cat([_answers(teacher, pixels, shares.argmax(-1)), torch.stack([own, second, was_mixed])])


def _figures(answers: np.ndarray, labels: np.ndarray, groups: dict[str, np.ndarray]) -> dict:
    num_classes = sum(map(len, groups.values()))
    drawn = np.bincount(labels, minlength=num_classes)
    right = np.bincount(labels[answers == labels], minlength=num_classes)
    seen = {name: members[drawn[members] > 0] for name, members in groups.items()}
    means = {name: _percent(right[s] / drawn[s]) if len(s) else None for name, s in seen.items()}
    every = np.flatnonzero(drawn)
    return {
        "images": len(labels),
        "accuracy": _percent(answers == labels),
        "balanced_accuracy": _percent(right[every] / drawn[every]),
        **means,
        "teacher_labels": {name: _percent(np.isin(answers, members)) for name, members in groups.items()},
        "true_labels": {name: _percent(np.isin(labels, members)) for name, members in groups.items()},
    }


def _percent(values: np.ndarray) -> float:
    return 100 * float(np.mean(values))
