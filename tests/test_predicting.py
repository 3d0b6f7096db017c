"""The one way from a model and images to predictions."""

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from helpers import RowTeacher, arguments, picture_dataset, tiny_student
from scipy.special import softmax

from trainer.augmentation import EvaluationImages, image_processor
from trainer.errors import RunError, SettingError
from trainer.predicting import predict
from trainer.trainer import DeiTLTTrainer


@pytest.fixture(scope="module")
def images():
    return EvaluationImages(picture_dataset((5, 4, 2)), image_processor(8, 1.0))


def pixels(images):
    return torch.stack([row["pixel_values"] for row in images.__getitems__(range(len(images)))])


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_students_experts_are_those_of_its_trainer(tmp_path, monkeypatch, images, precision):
    settings = {"per_device_eval_batch_size": 4, "bf16": precision == "bf16"}
    found = DeiTLTTrainer(tiny_student(), arguments(tmp_path / "run", **settings)).predict(images)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    ours, labels = predict(tiny_student(), images, batch_size=4, use_cpu=True, precision=precision)
    assert list(ours) == ["mean", "cls", "dist"]
    for own, logits in zip(ours.values(), found.predictions, strict=True):
        np.testing.assert_array_equal(own.classes, logits.argmax(axis=1))
        np.testing.assert_allclose(own.confidence, softmax(logits.astype(float), axis=1).max(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(labels, found.label_ids)
    assert sorted(tmp_path.rglob("*")) == before


def test_any_other_classifier_is_one_expert(images):
    found, labels = predict(RowTeacher(), images, batch_size=4, use_cpu=True)
    assert list(found) == ["teacher"]
    logits = RowTeacher()(pixels(images)).double().numpy()
    np.testing.assert_array_equal(found["teacher"].classes, logits.argmax(axis=1))
    np.testing.assert_allclose(found["teacher"].confidence, softmax(logits, axis=1).max(axis=1), rtol=1e-6)
    assert labels.tolist() == [0] * 5 + [1] * 4 + [2] * 2


def test_the_precision_of_a_training_before_it_is_forgotten(tmp_path, images):
    AcceleratorState._reset_state(reset_partial_state=True)
    alone, _ = predict(tiny_student(), images, use_cpu=True)
    DeiTLTTrainer(tiny_student(), arguments(tmp_path, bf16=True)).predict(images)
    after, _ = predict(tiny_student(), images, use_cpu=True)
    np.testing.assert_array_equal(after["mean"].confidence, alone["mean"].confidence)


class Broken(RowTeacher):
    """Says nothing about bright images."""

    def forward(self, x):
        return super().forward(x) + torch.where(x.mean(dim=(1, 2, 3)) > 0.5, torch.nan, 0)[:, None]


def test_logits_that_are_not_finite_are_refused(images):
    row = int((pixels(images).mean(dim=(1, 2, 3)) > 0.5).nonzero()[0])
    with pytest.raises(RunError, match=rf"\(teacher\) of image {row} are not finite; check its weights"):
        predict(Broken(), images, batch_size=4, use_cpu=True)


def test_a_precision_that_cannot_be_is_one_line(images, monkeypatch):
    with pytest.raises(SettingError, match="precision must be one of float32, bf16, fp16, got half"):
        predict(RowTeacher(), images, use_cpu=True, precision="half")

    def refuse(**settings):
        raise ValueError(f"{settings['mixed_precision']} is not for this device")

    monkeypatch.setattr("trainer.predicting.Accelerator", refuse)
    with pytest.raises(SettingError, match="precision bf16: bf16 is not for this device; take float32"):
        predict(RowTeacher(), images, use_cpu=True, precision="bf16")
