"""What a teacher says on plain, augmented and mixed images, against answers known by hand and the trainer's log."""

import numpy as np
import pytest
import torch
from helpers import history, picture_dataset, teacher, train, training_images
from torch import nn

from trainer.augmentation import BatchMixing, EvaluationImages, TrainingSampler, image_processor
from trainer.augmentation.mixing import mirrored
from trainer.errors import TeacherError
from trainer.evaluation import expert_report
from trainer.teachers import Teacher
from trainer.teachers.behaviour import behaviour_on_test_images, behaviour_on_training_images

CPU = torch.device("cpu")
COUNTS = (8, 5, 3)  # one class each of head, mid and tail
PROCESSOR = image_processor(8, 1.0)


class Level(nn.Module):
    """Says which third of the range of brightness an image lies in; right on every plain picture."""

    def forward(self, x):
        std, mean = torch.tensor([0.229, 0.224, 0.225]), torch.tensor([0.485, 0.456, 0.406])
        brightness = (x.mean(dim=(2, 3)) * std + mean).mean(1)
        return -((brightness[:, None] - torch.tensor([1, 3, 5]) / 6) ** 2)


class Always(nn.Module):
    """Says one class, or nothing that is a number."""

    def __init__(self, score=1.0):
        super().__init__()
        self.score = score

    def forward(self, x):
        return torch.tensor([0.0, 0.0, self.score]).repeat(len(x), 1)


def as_teacher(model):
    return Teacher(model, None, (0.5,) * 3, (0.5,) * 3)


def measure(model=None, probability=1.0, batch_size=5, num_images=64, seed=0):
    """All views of 16 pictures over four epochs, in batches of which some are odd."""
    mixing = BatchMixing(3, probability=probability, seed=seed)
    return behaviour_on_training_images(
        model or as_teacher(Level()),
        training_images(COUNTS, seed=seed),
        TrainingSampler(sum(COUNTS), batch_size, seed=seed, partners=True),
        PROCESSOR,
        mixing,
        None,
        CPU,
        num_images=num_images,
    )


def test_a_teacher_that_always_says_the_tail():
    views = measure(as_teacher(Always()))
    rows = [row for epoch in range(4) for row in epoch_rows(epoch)]
    labels = np.repeat([0, 1, 2], COUNTS)[rows]
    for view in views.values():
        assert view["images"] == 64
        assert view["accuracy"] == pytest.approx(100 * (labels == 2).mean())
        assert view["balanced_accuracy"] == pytest.approx(100 / 3)
        assert (view["head"], view["mid"], view["tail"]) == (0, 0, 100)
        assert view["teacher_labels"] == {"head": 0, "mid": 0, "tail": 100}
        assert list(view["true_labels"].values()) == pytest.approx([100 * (labels == c).mean() for c in range(3)])


def epoch_rows(epoch, batch_size=5):
    sampler = TrainingSampler(sum(COUNTS), batch_size)
    sampler.set_epoch(epoch)
    return [row for row, _, _ in sampler]


def test_shares_sum_to_the_whole_and_plain_pictures_are_told_apart():
    views = measure()
    assert views["plain"]["accuracy"] == 100
    assert views["mixed"]["accuracy"] < views["mixed"]["either"] <= 100
    for view in views.values():
        assert sum(view["teacher_labels"].values()) == pytest.approx(100)
        assert sum(view["true_labels"].values()) == pytest.approx(100)


def test_mixed_agreement_is_what_the_trainer_logs(tmp_path):
    """Four epochs of training, batch by batch: the same images, the same mixing."""
    train(tmp_path, images=training_images(COUNTS), per_device_train_batch_size=5, num_train_epochs=4)
    logged = [row["teacher_agreement"] for row in history(tmp_path) if "teacher_agreement" in row]
    sizes = [5, 5, 5, 1] * 4
    agreed = sum(share * size for share, size in zip(logged, sizes, strict=True))
    assert measure(teacher())["mixed"]["accuracy"] == pytest.approx(100 * agreed / 64, abs=1e-4)


@pytest.mark.parametrize("probability", [1.0, 0.5, 0.0])
def test_either_is_a_class_with_a_share_in_the_label(probability):
    """Without smoothing a mixed label is above 0 at exactly the classes in the image."""
    mixing, model, hits, mixed = BatchMixing(3, probability=probability, label_smoothing=0.0), Level(), [], []
    images = training_images(COUNTS)
    for step in range(16):
        sampler = TrainingSampler(len(images), 5, partners=True)
        sampler.set_epoch(step // 4)
        rows = images.__getitems__(list(sampler)[5 * (step % 4) : 5 * (step % 4) + 5])
        pixels = torch.stack([row["pixel_values"] for row in rows])
        blended, shares = mixing(pixels, torch.tensor([row["labels"] for row in rows]), step)
        hits += (shares.gather(1, model(blended).argmax(-1, keepdim=True)) > 0).flatten().tolist()
        mixed += (blended != mirrored(pixels)).flatten(1).any(1).tolist()
    figures = measure(probability=probability)["mixed"]
    assert figures["either"] == pytest.approx(100 * np.mean(hits))
    assert figures["mixed_images"] == pytest.approx(100 * np.mean(mixed))
    assert (figures["mixed_images"] == 0) == (probability == 0)


def test_without_mixing_the_mixed_view_is_the_augmented_one():
    views = measure(probability=0.0)
    assert views["mixed"].pop("either") == views["augmented"]["accuracy"]
    del views["mixed"]["mixed_images"]
    assert views["mixed"] == views["augmented"]


def test_the_same_again_and_whole_batches():
    assert measure() == measure()
    assert measure(num_images=6)["mixed"]["images"] == 10
    assert measure(num_images=16)["mixed"]["images"] == 16  # the epoch's last batch is a single image


def test_a_group_that_is_not_drawn_has_no_accuracy():
    drawn = {np.repeat([0, 1, 2], COUNTS)[row] for row in epoch_rows(0, batch_size=2)[:2]}
    figures = measure(batch_size=2, num_images=2)["plain"]
    assert {c for c, name in enumerate(("head", "mid", "tail")) if figures[name] is not None} == drawn


def test_the_test_report_is_the_expert_report_of_the_resized_images():
    images, model = EvaluationImages(picture_dataset((4, 3, 2), size=16), PROCESSOR), Level()
    pixels = torch.stack([images[row]["pixel_values"] for row in range(9)])
    expected = expert_report({"teacher": model(pixels).numpy()}, np.repeat([0, 1, 2], (4, 3, 2)), COUNTS)
    found = behaviour_on_test_images(as_teacher(model), images, COUNTS, None, CPU, batch_size=4)
    assert found["teacher"] == pytest.approx(expected["teacher"], abs=1e-4)
    assert found["teacher"]["accuracy"] == 100


def test_outputs_that_are_not_finite_are_refused():
    images = EvaluationImages(picture_dataset((2, 1, 1)), PROCESSOR)
    with pytest.raises(TeacherError, match="not finite"):
        behaviour_on_test_images(as_teacher(Always(float("nan"))), images, COUNTS, None, CPU)
