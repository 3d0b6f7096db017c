"""Check before training that a teacher is better than chance on the student's augmented images."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import DataLoader

from trainer.augmentation import ImageKey, TrainingImages, collate
from trainer.errors import TeacherError
from trainer.teachers.loading import Teacher

CHECKED_IMAGES = 1024


def check_teacher(
    teacher: Teacher,
    images: TrainingImages,
    device: torch.device,
    num_images: int = CHECKED_IMAGES,
    batch_size: int = 64,
) -> float:
    """Refuse a teacher that is near chance on training images seen through the exact student path.

    A head that was initialised anew, a wrong class order or a wrong normalisation all look like this. Classes are
    drawn equally often, so that a teacher which only knows the head, or always says one class, is found out too; the
    images are augmented, not mixed, since a mixed image has no single right answer.

    Args:
        teacher: as the trainer uses it.
        images: the student's training images; drawn with its own transform and seed.
        device: where to run.
        num_images: images to draw, with all classes equally often; with more classes than images, one of each of the
            first `num_images` of a seeded class order. Default 1024.
        batch_size: Default 64.

    Returns:
        Class-balanced accuracy in percent.

    Raises:
        TeacherError: the accuracy is less than a tenth of the way from chance (1/C) to perfect.
    """
    labels = np.asarray(images.dataset["label"])
    classes = np.unique(labels)
    rng = np.random.default_rng(images.seed)
    drawn = rng.permutation(classes)[:num_images]
    per_class = max(1, num_images // len(drawn))
    rows = np.concatenate([rng.choice(np.flatnonzero(labels == c), per_class) for c in drawn])
    keys = [ImageKey(int(row), 0, position) for position, row in enumerate(rows)]
    teacher = teacher.to(device)
    correct = []
    for loaded in DataLoader(images, batch_size=batch_size, sampler=keys, collate_fn=collate):
        batch = images.finish(loaded)
        logits = teacher(batch["pixel_values"].to(device))
        correct.append((logits.argmax(-1).cpu() == batch["labels"].cpu()).float())
    accuracy = 100 * torch.cat(correct).mean().item()
    chance = 100 / logits.shape[-1]
    needed = chance + 0.1 * (100 - chance)
    if accuracy < needed:
        raise TeacherError(
            f"the teacher is near chance: {accuracy:.1f} % class-balanced accuracy on {len(keys)} training images as "
            f"the student sees them, chance is {chance:.1f} %, at least {needed:.1f} % is needed; check its classes "
            "and their order, its weights and teacher_normalization"
        )
    return accuracy
