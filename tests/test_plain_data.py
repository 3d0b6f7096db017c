"""DeiTLTTrainer used as people use Trainer: names, plain data sets, figures from evaluate and predict."""

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image
from helpers import arguments, picture_dataset, teacher, tiny_student, training_images, weights
from timm import create_model
from timm.models import save_for_hf

from modeling_deit_lt import DeiTLTConfig, DeiTLTForImageClassification
from trainer.augmentation import EvaluationImages, image_processor, seeded
from trainer.data import PixelFormat
from trainer.errors import DataError, TeacherError
from trainer.evaluation import expert_report
from trainer.teachers import cifar_resnet  # noqa: F401  (registers the teacher's architecture)
from trainer.trainer import DeiTLTTrainer

COUNTS = (8, 5, 3)


def student(**overrides):
    """A tiny student that knows neither names nor counts of its classes."""
    sizes = {"image_size": 8, "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    with seeded(0):
        return DeiTLTForImageClassification(
            DeiTLTConfig(**{**sizes, "intermediate_size": 32, "num_labels": 3, **overrides})
        )


def trainer_of(folder, model=None, **kwargs):
    args = arguments(folder, train_transform="affine", crop_ratio=1.0)
    return DeiTLTTrainer(model or student(), args, **{"train_dataset": picture_dataset(COUNTS), **kwargs})


def test_plain_rows_train_as_wrapped_ones(tmp_path):
    """The same weights as with TrainingImages and the processor made by hand."""
    plain = trainer_of(tmp_path / "plain", teacher=teacher())
    args = arguments(tmp_path / "wrapped", train_transform="affine", crop_ratio=1.0)
    model = tiny_student()
    processor = image_processor(8, 1.0)
    wrapped = DeiTLTTrainer(model, args, teacher(), train_dataset=training_images(), processing_class=processor)
    plain.model.load_state_dict(model.state_dict())
    plain.train()
    wrapped.train()
    assert torch.equal(weights(plain.model), weights(wrapped.model))
    assert plain.processing_class.to_dict() == processor.to_dict()


def test_the_model_takes_names_and_counts_of_the_images(tmp_path):
    config = trainer_of(tmp_path).model.config
    assert config.class_counts == [8, 5, 3]
    assert config.id2label == {0: "level0", 1: "level1", 2: "level2"}
    assert config.label2id == {"level0": 0, "level1": 1, "level2": 2}


def test_a_preset_is_built_for_the_images(tmp_path):
    first, second = (trainer_of(tmp_path / str(run), model="tiny").model for run in range(2))
    assert (first.config.hidden_size, first.config.num_labels, first.config.image_size) == (192, 3, 224)
    assert torch.equal(weights(first), weights(second))  # by the seed
    with pytest.raises(DataError, match="the preset tiny is built for a train_dataset"):
        trainer_of(tmp_path, model="tiny", train_dataset=None)
    with pytest.raises(ValueError, match="unknown preset 'huge'"):
        trainer_of(tmp_path, model="huge")


def test_evaluate_and_predict_are_the_expert_report(tmp_path):
    test = picture_dataset((2, 3, 4))
    trainer = trainer_of(tmp_path, eval_dataset=test)
    trainer.train()
    evaluated, predicted = trainer.evaluate(), trainer.predict(test)
    logits = dict(zip(("mean", "cls", "dist"), predicted.predictions, strict=True))
    report = expert_report(logits, predicted.label_ids, COUNTS)
    for expert, numbers in report.items():
        for name, value in numbers.items():
            if value is not None:
                assert evaluated[f"eval_{expert}_{name}"] == pytest.approx(value)
                assert predicted.metrics[f"test_{expert}_{name}"] == pytest.approx(value)
    parts = {"first": test.select(range(4)), "second": test}
    assert trainer.evaluate(parts)["eval_second_mean_accuracy"] == pytest.approx(report["mean"]["accuracy"])


def test_eval_strategy_works_as_in_trainer(tmp_path):
    args = arguments(tmp_path, train_transform="affine", crop_ratio=1.0, eval_strategy="epoch")
    rows = picture_dataset(COUNTS)
    trainer = DeiTLTTrainer(student(), args, train_dataset=rows, eval_dataset=rows)
    trainer.train()
    assert sum("eval_mean_tail" in row for row in trainer.state.log_history) == 2


@pytest.mark.parametrize("kind", ["strings", "integers"])
def test_labels_may_be_names_or_numbers(tmp_path, kind):
    rows = picture_dataset(COUNTS)
    names = rows.features["label"].names
    labels = [names[label] if kind == "strings" else label for label in rows["label"]]
    other = rows.remove_columns("label").add_column("label", labels)
    trainer = trainer_of(tmp_path, train_dataset=other)
    expected = EvaluationImages(rows, trainer.processing_class)
    assert trainer.predict(other).label_ids.tolist() == trainer.predict(expected).label_ids.tolist()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["level1", "level0", "level2"], "other classes than the model, or another order"),
        (["a", "b"], "out of range|other classes"),
    ],
)
def test_other_classes_are_refused_in_evaluation(tmp_path, names, message):
    """Another order would be mis-scored without a word."""
    other = picture_dataset((2,) * len(names)).cast_column("label", ClassLabel(names=names))
    with pytest.raises(DataError, match=message):
        trainer_of(tmp_path, eval_dataset=other)


def test_a_name_that_the_model_does_not_know_is_refused(tmp_path):
    other = picture_dataset((1, 1)).remove_columns("label").add_column("label", ["level0", "wolf"])
    with pytest.raises(DataError, match="row 1: the label is none of the model's classes"):
        trainer_of(tmp_path, eval_dataset=other)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_labels": 4}, "the model has 4 classes, the training images 3"),
        ({"class_counts": [5, 5, 5]}, "config.class_counts are not those of the training images"),
        ({"id2label": {0: "a", 1: "b", 2: "c"}}, "other classes than the training images"),
    ],
)
def test_a_model_of_other_classes_is_refused(tmp_path, config, message):
    with pytest.raises(DataError, match=message):
        trainer_of(tmp_path, model=student(**config))


def test_a_teacher_by_its_name(tmp_path):
    with seeded(0):
        network = create_model("resnet8_cifar", num_classes=3)
    save_for_hf(
        network,
        tmp_path / "teacher",
        safe_serialization=True,
        model_config={"label_names": ["level2", "level0", "level1"]},
    )
    trainer = trainer_of(tmp_path, teacher=str(tmp_path / "teacher"))
    images = torch.randn(2, 3, 32, 32)
    by_name = network.eval()(images).detach()[:, [1, 2, 0]]  # in the order of the data's classes
    torch.testing.assert_close(trainer.teacher(images), by_name)
    with pytest.raises(TeacherError, match="cannot be loaded"):
        trainer_of(tmp_path, teacher="./nowhere")


def test_a_teacher_in_the_arguments_is_not_dropped(tmp_path):
    args = arguments(tmp_path, teacher="resnet18")
    with pytest.raises(TeacherError, match="give it to the trainer"):
        DeiTLTTrainer(student(), args, train_dataset=picture_dataset(COUNTS))


def test_rows_with_a_transform_of_the_users_are_used_as_they_are(tmp_path):
    rows = picture_dataset(COUNTS).with_transform(
        lambda batch: {"pixel_values": [torch.zeros(3, 8, 8) for _ in batch["image"]], "labels": batch["label"]}
    )
    trainer = trainer_of(tmp_path, model=tiny_student(), train_dataset=rows, eval_dataset=rows)
    assert trainer.train_dataset is rows
    assert len({tuple(row) for row in trainer.predict(rows).predictions[0].round(4).tolist()}) == 1


def test_rows_without_images_say_what_they_have(tmp_path):
    with pytest.raises(DataError, match="no image column; columns present: text, label"):
        trainer_of(tmp_path, train_dataset=Dataset.from_dict({"text": ["a"], "label": [0]}))


def test_another_data_set_is_another_evaluation_with_workers_too(tmp_path):
    """Trainer keeps the loader of its evaluation where workers persist, and would answer with the first one's."""
    test = picture_dataset((2, 3, 4))
    args = arguments(tmp_path, crop_ratio=1.0, train_transform="affine", dataloader_num_workers=1)
    trainer = DeiTLTTrainer(student(), args, train_dataset=picture_dataset(COUNTS), eval_dataset=test)
    whole, part = trainer.evaluate(), trainer.evaluate(test.select([0, 1]))
    assert part["eval_cls_worst"] == pytest.approx(trainer.predict(test.select([0, 1])).metrics["test_cls_worst"])
    assert trainer.evaluate()["eval_loss"] == pytest.approx(whole["eval_loss"])
    assert part["eval_loss"] != pytest.approx(whole["eval_loss"])


@pytest.mark.parametrize("form", ["torch", "numpy"])
def test_rows_in_any_format_are_plain(tmp_path, form):
    rows = picture_dataset(COUNTS).with_format(form)
    trainer = trainer_of(tmp_path, train_dataset=rows, eval_dataset=rows)
    assert trainer.evaluate()["eval_mean_accuracy"] >= 0


def test_rows_without_a_label_are_named(tmp_path):
    rows = picture_dataset((1, 1, 1))
    unlabelled = rows.remove_columns("label").add_column("label", [0, -1, 2], feature=rows.features["label"])
    with pytest.raises(DataError, match=r"row 1: label -1 is out of range"):
        trainer_of(tmp_path, eval_dataset=unlabelled)


def test_plain_rows_of_several_channels_train_with_their_processor(tmp_path):
    """What the processor says of the images holds for training; without it a model of other channels is refused."""
    rng, rows = np.random.default_rng(0), []
    for index in range(16):
        np.save(tmp_path / f"{index}.npy", rng.integers(0, 4096, (8, 8, 2), dtype=np.uint16))
        rows.append({"bytes": None, "path": str(tmp_path / f"{index}.npy")})
    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b", "c"])})
    data = Dataset.from_dict({"image": rows, "label": [0] * 8 + [1] * 5 + [2] * 3}, features)
    pixels = PixelFormat(2, 12, (0.5, 0.4), (0.3, 0.2))
    processor = image_processor(8, 1.0, pixels)
    own = {"model": student(num_channels=2), "train_dataset": data, "eval_dataset": data}
    trainer = trainer_of(tmp_path / "run", **own, processing_class=processor)
    assert trainer.train_dataset.pixels == pixels
    trainer.train()
    assert trainer.predict(data).predictions[0].shape == (16, 3)
    with pytest.raises(DataError, match="the model takes images of 2 channels, processing_class gives 3; give the"):
        trainer_of(tmp_path, **own)
