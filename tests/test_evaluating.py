"""Which of a trainer's ways keep logits, and that a split's are nowhere else."""

import numpy as np
import pytest
import torch
from helpers import arguments, picture_dataset, tiny_student, training_images
from scipy.special import softmax
from torch import Tensor

from trainer.augmentation import EvaluationImages, image_processor
from trainer.evaluation import expert_report
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.training import build_classifier, teacher_trainer
from trainer.trainer import DeiTLTTrainer

COUNTS = (8, 5, 3)


@pytest.fixture
def images():
    return EvaluationImages(picture_dataset((5, 4, 2)), image_processor(8, 1.0))


def trainer_of(folder, **kwargs):
    args = arguments(folder, per_device_eval_batch_size=2)
    return DeiTLTTrainer(tiny_student(), args, train_dataset=training_images(COUNTS), **kwargs)


def test_a_test_is_what_predicts_logits_say(tmp_path, images):
    trainer = trainer_of(tmp_path)
    found, stock = trainer.test(images), trainer.predict(images)
    logits = dict(zip(("mean", "cls", "dist"), stock.predictions, strict=True))
    assert [values.shape for values in logits.values()] == [(11, 3)] * 3
    for expert, values in logits.items():
        np.testing.assert_array_equal(found.predictions[expert].classes, values.argmax(axis=1))
        np.testing.assert_allclose(
            found.predictions[expert].confidence, softmax(values, axis=1).max(axis=1), rtol=1e-6
        )
    assert found.labels.tolist() == stock.label_ids.tolist() == [0] * 5 + [1] * 4 + [2] * 2
    report = expert_report(logits, stock.label_ids, COUNTS)
    for expert, figures in report.items():
        assert found.report[expert] == pytest.approx(figures)
    assert trainer.evaluate(images)["eval_dist_ece"] == pytest.approx(report["dist"]["ece"])


def test_a_teachers_one_expert(tmp_path, images):
    args = TeacherArguments(output_dir=str(tmp_path), architecture="resnet8_cifar", image_size=8, use_cpu=True)
    trainer = teacher_trainer(build_classifier(args, 3), args, COUNTS, train_dataset=training_images(COUNTS))
    found, logits = trainer.test(images), trainer.predict(images).predictions
    assert logits.shape == (11, 3)
    np.testing.assert_array_equal(found.predictions["teacher"].classes, logits.argmax(axis=1))
    assert found.report["teacher"] == pytest.approx(
        expert_report({"teacher": logits}, found.labels, COUNTS)["teacher"]
    )


@pytest.mark.parametrize("way", ["evaluate", "test"])
def test_what_is_kept_of_a_split_does_not_depend_on_the_classes(tmp_path, images, way):
    """All that Trainer's loop has at the end: two numbers a row and expert."""
    trainer, seen = trainer_of(tmp_path), []
    metrics = trainer.compute_metrics
    trainer.compute_metrics = lambda found: seen.append(found.predictions) or metrics(found)
    getattr(trainer, way)(images)
    assert [[field.shape for field in pair] for pair in seen[0]] == [[(11,), (11,)]] * 3


def test_metrics_of_the_users_own_get_logits(tmp_path, images):
    """As in Trainer; the expert report is there all the same."""
    shapes = []

    def given(prediction):
        shapes.append([logits.shape for logits in prediction.predictions])
        return {"own": 1.0}

    trainer = trainer_of(tmp_path, compute_metrics=given)
    assert trainer.evaluate(images)["eval_own"] == 1
    assert trainer.test(images).report == trainer_of(tmp_path).test(images).report
    assert shapes == [[(11, 3)] * 3] * 2


def test_a_hook_of_the_users_own_is_kept(tmp_path, images):
    """One that reads the mean alone, with metrics to it, in evaluate and in predict."""

    def first(logits: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        return logits[0].argmax(dim=1)

    def share(prediction):
        return {"right": float(np.mean(prediction.predictions == prediction.label_ids))}

    trainer = trainer_of(tmp_path, compute_metrics=share, preprocess_logits_for_metrics=first)
    found = trainer.predict(images)
    assert found.predictions.shape == (11,)
    assert trainer.evaluate(images)["eval_right"] == found.metrics["test_right"]


def test_logits_that_are_not_finite_are_refused_with_their_row(tmp_path, images):
    trainer = trainer_of(tmp_path)
    weight = trainer.model.distillation_classifier.weight
    with torch.no_grad():
        weight.fill_(torch.inf)
    for way in (trainer.test, trainer.evaluate, trainer.predict):
        with pytest.raises(ValueError, match="are not finite in row 0"):
            way(images)
