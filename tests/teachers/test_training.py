"""What every teacher's training must show: it learns, and its steps never wait for the host."""

import pytest
import torch
from datasets import DatasetDict
from helpers import NoWaiting, history, picture_dataset

from trainer.augmentation import EvaluationImages, ImageKey, collate, image_processor
from trainer.augmentation.device_images import KEYS
from trainer.data import RGB, class_counts, load_long_tailed
from trainer.errors import RunError
from trainer.evaluation import expert_report
from trainer.teachers import PaCo, PaCoTrainer, TeacherTrainer, load_teacher, train_teacher
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.training import build_classifier, training_images
from trainer.teachers.training import test_images as images_of

LOSSES = {
    "cross-entropy": {"loss": "cross_entropy"},
    "LDAM-DRW": {"loss": "ldam", "drw_start_epoch": 1},
    "LDAM-DRW and SAM": {"loss": "ldam", "drw_start_epoch": 1, "sam_rho": [0.1]},
    "PaCo": {"loss": "paco", "paco_queue": 128},
    "PaCo and SAM": {"loss": "paco", "paco_queue": 128, "sam_rho": [0.05]},
}


def arguments(folder, **settings):
    return TeacherArguments(
        output_dir=str(folder),
        architecture="resnet8_cifar",
        image_size=16,
        num_train_epochs=2,
        warmup_epochs=0,
        learning_rate=0.05,
        per_device_train_batch_size=8,
        image_pipeline="device",
        second_transform="crop_flip",
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        **settings,
    )


@pytest.fixture(scope="module")
def digits():
    return load_long_tailed("digits", rho=5)


@pytest.fixture(scope="module")
def best_of_the_untrained(digits):
    """The best of twenty networks that have learnt nothing."""
    counts = class_counts(digits["train"])
    images = EvaluationImages(digits["test"], image_processor(16, 1.0))
    batch = torch.stack([row["pixel_values"] for row in images.__getitems__(range(len(images)))])
    accuracies = []
    for seed in range(20):
        args = TeacherArguments(output_dir="unused", architecture="resnet8_cifar", seed=seed, use_cpu=True)
        with torch.no_grad():
            logits = build_classifier(args, 10).eval()(batch).numpy()
        accuracies.append(
            expert_report({"teacher": logits}, digits["test"]["label"][:], counts)["teacher"]["accuracy"]
        )
    return max(accuracies)


@pytest.mark.parametrize("settings", LOSSES.values(), ids=LOSSES.keys())
def test_two_epochs_teach_more_than_chance(tmp_path, digits, best_of_the_untrained, settings):
    """Ten points above the luckiest are seven standard deviations of guessing on 500 balanced images."""
    result = train_teacher(arguments(tmp_path, **settings), digits)
    assert 10 <= best_of_the_untrained < 20
    assert result.figures["accuracy"] > best_of_the_untrained + 10


@pytest.mark.parametrize("loss", ["ldam", "paco"])
def test_any_timm_model_that_ends_in_a_linear_layer(tmp_path, loss):
    data = DatasetDict(train=picture_dataset((10, 6, 4), size=32), test=picture_dataset((4, 4, 4), size=32))
    args = TeacherArguments(
        output_dir=str(tmp_path),
        architecture="resnet18",
        image_size=32,
        loss=loss,
        sam_rho=[0.05],
        train_transform="crop_flip",
        second_transform="affine",
        num_train_epochs=1,
        warmup_epochs=0,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    train_teacher(args, data)
    teacher = load_teacher(str(tmp_path), 3)
    assert teacher(torch.randn(2, 3, 32, 32)).shape == (2, 3)
    assert (tmp_path / "plots" / "class_accuracy.png").is_file()


@pytest.mark.parametrize("loss", ["ldam", "paco"])
def test_mixed_precision_with_sam(tmp_path, loss):
    args = arguments(tmp_path, loss=loss, sam_rho=[0.1], bf16=True, logging_steps=1)
    data = DatasetDict(train=picture_dataset((30, 15, 6), size=16), test=picture_dataset((8, 8, 8), size=16))
    train_teacher(args, data)
    losses = [row["loss"] for row in history(tmp_path) if "loss" in row]
    assert losses[-1] < losses[0]
    assert all(v.dtype == torch.float32 for v in load_teacher(str(tmp_path), 3).parameters())


def test_the_guard_catches_a_wait():
    with pytest.raises(AssertionError, match="waits"), NoWaiting():
        torch.ones(1).item()


@pytest.mark.parametrize("settings", LOSSES.values(), ids=LOSSES.keys())
def test_no_step_waits_for_the_host(tmp_path, settings):
    data = picture_dataset((20, 8, 4), size=16)
    args = arguments(tmp_path, **settings)
    model = build_classifier(args, 3)
    kind, model = (PaCoTrainer, PaCo(model)) if args.loss == "paco" else (TeacherTrainer, model)
    trainer = kind(model, args, [20, 8, 4], train_dataset=training_images(args, data, RGB), data_collator=collate)
    trainer.create_optimizer()
    trainer.state.epoch, trainer.current_gradient_accumulation_steps = 1.0, 1
    rows = [ImageKey(row, 0, row) for row in range(16)]
    trainer.train_dataset.__getitems__(rows)  # the epoch's augmentation, which is once, not in each step
    with NoWaiting():
        batch = trainer.train_dataset.__getitems__(rows)
        trainer.training_step(trainer.model, batch)
        trainer.optimizer.step()


def test_an_image_alone_in_its_batch_is_refused_before_training(tmp_path):
    data = picture_dataset((10, 4, 3), size=16)
    with pytest.raises(RunError, match="17 training images in batches of 8 leave one alone"):
        train_teacher(arguments(tmp_path, loss="paco"), DatasetDict(train=data, test=data))


def test_a_loader_has_no_workers_and_pins_nothing_where_images_are_kept(tmp_path, digits):
    args, rows = arguments(tmp_path, dataloader_num_workers=2), digits["train"].select(range(20))
    args.dataloader_pin_memory = True  # as beside a GPU
    data = {"train_dataset": training_images(args, rows, RGB), "eval_dataset": images_of(args, rows, RGB)}
    trainer = TeacherTrainer(build_classifier(args, 10), args, [2] * 10, **data)
    for loader in (trainer.get_train_dataloader(), trainer.get_eval_dataloader()):
        assert (loader.base_dataloader.num_workers, loader.base_dataloader.pin_memory) == (0, False)
        assert sum(len(batch.get("labels", batch.get(KEYS))) for batch in loader) == 20


@pytest.mark.parametrize(
    "settings",
    [{"lr_milestones": [160, 180]}, {"lr_milestones": [-1]}, {"sam_rho": [0.1, 0.2], "sam_milestones": [5]}],
)
def test_milestones_outside_the_run_are_refused(tmp_path, settings):
    with pytest.raises(ValueError, match="milestones must rise and lie inside the 2 epochs"):
        arguments(tmp_path, **settings)
