"""Settings: what is refused, and the learning rate that follows from the batch."""

import dataclasses
import json

import pytest
from helpers import arguments, tiny_student, training_images

from trainer.arguments import DistillationArguments
from trainer.settings import deciding_settings
from trainer.teachers.arguments import TeacherArguments
from trainer.trainer import DeiTLTTrainer


@pytest.mark.parametrize(("paper_rule", "expected"), [(False, 5e-4 * 32 * 4 / 512), (True, 5e-4 * 32 / 512)])
def test_learning_rate_rule(tmp_path, paper_rule, expected):
    args = arguments(
        tmp_path, per_device_train_batch_size=32, gradient_accumulation_steps=4, paper_learning_rate_rule=paper_rule
    )
    assert args.peak_learning_rate == pytest.approx(expected)


def test_drw_is_off_unless_it_is_asked_for(tmp_path):
    assert not any(arguments(tmp_path).in_drw(epoch) for epoch in (None, 0, 1.5, 1e6))
    args = arguments(tmp_path, drw_start_epoch=1)
    assert [args.in_drw(epoch) for epoch in (None, 0, 0.99, 1, 1.5)] == [False, False, False, True, True]


def test_schedule_is_warmup_then_cosine_to_the_floor(tmp_path):
    args = arguments(tmp_path, num_train_epochs=100, warmup_epochs=5, per_device_train_batch_size=512)
    trainer = DeiTLTTrainer(tiny_student(), args, train_dataset=training_images())
    trainer.create_optimizer_and_scheduler(1000)
    rates = []
    for _ in range(1000):
        rates.append(trainer.lr_scheduler.get_last_lr()[0])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    assert rates[0] == pytest.approx(1e-6)
    assert max(rates) == pytest.approx(5e-4)
    assert rates.index(max(rates)) == 49
    assert rates[-1] == pytest.approx(1e-5)
    halfway = 0.5 * (5e-4 + 1e-5)  # the cosine's middle, at the middle of what is left after the warm-up
    assert rates[50 + 474] == pytest.approx(halfway, rel=1e-3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"drw_start_epoch": 5}, "drw_start_epoch 5 lies outside"),
        ({"alpha": 2}, r"alpha must lie in \[0, 1\], got 2"),
        ({"temperature": 0.0}, "temperature"),
        ({"drw_beta": 1.0}, "drw_beta"),
        ({"base_learning_rate": 0.0}, "base_learning_rate"),
        ({"num_train_epochs": 0}, "num_train_epochs"),
        ({"crop_ratio": 0.0}, "crop_ratio"),
        ({"label_smoothing": 2.0}, "label_smoothing"),
        ({"ema_decay": 1.5}, "ema_decay"),
        ({"mixup_alpha": -1.0}, "mixup_alpha"),
        ({"repeats": 0}, "repeats"),
        ({"seed": -1}, "seed"),
        ({"max_steps": 3}, "max_steps is not used"),
        ({"warmup_steps": 10}, "set warmup_epochs"),
        ({"dataloader_drop_last": True}, "set drop_partial_batches"),
        ({"drw_mean": "step", "distillation_type": "soft"}, "with distillation_type soft set it to micro_batch"),
        ({"learning_rate": 1e-3}, "set base_learning_rate"),
        ({"warmup_epochs": 2}, "must be fewer than num_train_epochs"),
        ({"drw_start_epoch": 2}, "lies outside the 2 epochs of the run; give a share"),
        ({"seed": 2**32}, "seed must lie in"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size must lie in"),
        ({"per_device_eval_batch_size": 0}, "per_device_eval_batch_size must lie in"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps must lie in"),
        ({"dataloader_num_workers": -1}, "dataloader_num_workers must lie in"),
        ({"auto_find_batch_size": True, "paper_learning_rate_rule": True}, "leave one of them out"),
        ({"prediction_loss_only": True}, "prediction_loss_only does not go with"),
        ({"eval_on_start": True}, "eval_on_start does not go with"),
        ({"neftune_noise_alpha": 5.0}, "neftune_noise_alpha does not go with"),
        ({"label_names": ["a"]}, "must stay as they are"),
        ({"eval_do_concat_batches": False}, "must stay as they are"),
        ({"output_dir": ""}, "output_dir is empty"),
        ({"teacher_image_size": -5}, "teacher_image_size must lie in"),
        ({"dataloader_num_workers": 1, "dataloader_prefetch_factor": 0}, "dataloader_prefetch_factor must lie in"),
        ({"lr_scheduler_kwargs": {"min_lr": 1.0}}, "no lr_scheduler_kwargs"),
        ({"model_selection": "validation", "save_strategy": "no"}, "set save_strategy"),
        ({"model_selection": "paper", "save_strategy": "best", "metric_for_best_model": "x"}, "set save_strategy"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, setting, message):
    with pytest.raises(ValueError, match=message):
        DistillationArguments(**{"output_dir": str(tmp_path), "num_train_epochs": 2, "warmup_epochs": 0.5, **setting})


def test_another_run_is_a_replacement(tmp_path):
    """No setting was changed by making the arguments, so all of them can be given again."""
    args = arguments(tmp_path, per_device_train_batch_size=32, model_selection="validation", save_strategy="epoch")
    other = dataclasses.replace(args, seed=1)
    differing = [f.name for f in dataclasses.fields(args) if getattr(args, f.name) != getattr(other, f.name)]
    assert differing == ["seed"]
    larger = dataclasses.replace(args, per_device_train_batch_size=64, num_train_epochs=10)
    assert larger.peak_learning_rate == 2 * args.peak_learning_rate
    assert (args.get_warmup_steps(100), larger.get_warmup_steps(100)) == (25, 5)  # half an epoch of 2, and of 10


def test_what_follows_from_workers_follows_again_in_a_replacement(tmp_path):
    workers = arguments(tmp_path, dataloader_num_workers=2)
    assert workers.dataloader_persistent_workers
    assert not dataclasses.replace(workers, dataloader_num_workers=0).dataloader_persistent_workers


def test_a_teachers_replacement_keeps_its_own_precision(tmp_path):
    args = TeacherArguments(output_dir=str(tmp_path), use_cpu=True, bf16=True, sam_rho=[0.1])
    other = dataclasses.replace(args, bf16=False)
    assert (args.mixed_precision, other.mixed_precision, other.sam_rho) == ("bf16", "no", [0.1])


def test_what_decides_and_what_does_not(tmp_path):
    args = arguments(tmp_path)
    elsewhere = dataclasses.replace(args, output_dir="elsewhere", dataloader_num_workers=2, logging_steps=7)
    assert deciding_settings(elsewhere) == deciding_settings(args)
    for change in ({"seed": 1}, {"per_device_train_batch_size": 2}, {"optim": "sgd"}, {"bf16": True}, {"alpha": 0.1}):
        assert deciding_settings(dataclasses.replace(args, **change)) != deciding_settings(args)
    chosen = dataclasses.replace(args, model_selection="validation", save_strategy="epoch")
    assert deciding_settings(dataclasses.replace(chosen, save_strategy="steps")) != deciding_settings(chosen)
    json.dumps(deciding_settings(chosen))
