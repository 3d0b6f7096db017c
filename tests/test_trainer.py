"""DeiTLTTrainer against transformers' Trainer, hand formulas and itself."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import arguments, picture_dataset, tiny_student, training_images
from torch import nn
from transformers import Trainer, TrainingArguments

from trainer.augmentation import BatchMixing, EvaluationImages, image_processor
from trainer.checkpoints import last_complete_checkpoint, load_student
from trainer.errors import CheckpointError, DataError, RunError
from trainer.reweighting import effective_number_weights
from trainer.teachers import Teacher
from trainer.trainer import DeiTLTTrainer

NEUTRAL = {"mixing_probability": 0.0, "label_smoothing": 0.0, "repeats": 1, "ema_decay": 0.0}


class RowTeacher(nn.Module):
    """A fixed function of the image: which third of it is brightest."""

    def forward(self, x):
        return x.mean(dim=(1, 3)).unfold(1, 2, 3).mean(-1)[:, :3] * 50


def teacher():
    return Teacher(RowTeacher(), None, (0.5,) * 3, (0.5,) * 3)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def history(folder):
    return [json.loads(line) for line in Path(folder, "history.jsonl").read_text().splitlines()]


def train(folder, images=None, model=None, resume=None, with_teacher=True, **overrides):
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


def test_neutral_without_a_teacher_it_is_transformers_trainer(tmp_path):
    """Same weights, order and rates: one-hot labels instead of indices leave rounding errors of float32 only."""
    images = [training_images()[(row, 0, row)] for row in range(16)]
    shared = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "seed": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "report_to": "none",
    }
    plain = TrainingArguments(
        output_dir=str(tmp_path / "a"), learning_rate=1e-3, lr_scheduler_type="constant", **shared
    )
    expected = tiny_student()
    reference = Trainer(expected, plain, train_dataset=images)
    reference.train()
    ours = arguments(tmp_path / "b", **{**shared, **NEUTRAL, "lr_scheduler_type": "constant"})
    ours.learning_rate, ours.lr_scheduler_kwargs = 1e-3, {}
    student = tiny_student()
    trainer = DeiTLTTrainer(student, ours, train_dataset=images)
    trainer.train()
    torch.testing.assert_close(weights(student), weights(expected), atol=2e-5, rtol=0)
    assert trainer.state.log_history[-1]["train_loss"] == pytest.approx(
        reference.state.log_history[-1]["train_loss"], abs=1e-5
    )


def test_accumulation_of_four_batches_equals_one_large_batch(tmp_path):
    """Without mixing, which pairs images within a batch; 1e-5 is what Adam makes of rounding in the sums."""
    shared = {**NEUTRAL, "num_train_epochs": 3}
    one = train(tmp_path / "a", training_images((32, 20, 12)), per_device_train_batch_size=32, **shared)
    four = train(
        tmp_path / "b",
        training_images((32, 20, 12)),
        per_device_train_batch_size=8,
        gradient_accumulation_steps=4,
        **shared,
    )
    assert one.args.learning_rate == four.args.learning_rate
    assert one.state.global_step == four.state.global_step == 6
    losses = [[row["loss"] for row in history(tmp_path / run) if "loss" in row] for run in "ab"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    torch.testing.assert_close(weights(one.model), weights(four.model), atol=1e-5, rtol=0)


def test_the_logged_parts_make_the_loss(tmp_path):
    trainer = train(tmp_path, alpha=0.3, drw_start_epoch=1, num_train_epochs=2)
    rows = [row for row in history(tmp_path) if "loss" in row]
    assert len(rows) == trainer.state.global_step == 8
    for row in rows:
        assert row["loss"] == pytest.approx(0.7 * row["loss_cls"] + 0.3 * row["loss_dist"], rel=1e-4)
        assert 0 <= row["teacher_agreement"] <= 1
        assert -1 <= row["cls_dist_cosine"] <= 1
    assert [row["drw"] for row in rows] == [0] * 4 + [1] * 4
    assert any(row["teacher_agreement"] not in (0.0, 1.0) for row in rows)


@pytest.mark.parametrize("drw_mixing", [False, True])
def test_drw_weighs_the_dist_loss_and_stops_mixing(tmp_path, drw_mixing):
    args = arguments(tmp_path, drw_start_epoch=1, drw_mixing=drw_mixing)
    model = tiny_student().train()
    trainer = DeiTLTTrainer(model, args, teacher(), train_dataset=training_images())
    batch = trainer.data_collator([training_images()[(row, 0, row)] for row in range(0, 16, 2)])
    for epoch in (0.75, 1.0):
        trainer.state.epoch = epoch
        loss = trainer.compute_loss(model, {k: v.clone() for k, v in batch.items()})
        images, labels = batch["pixel_values"].clone(), batch["labels"]
        in_drw = epoch >= 1
        if not in_drw or drw_mixing:
            images, labels = BatchMixing(3)(images, labels, 0, 0)
            trainer._place = (-1, 0)
        outputs, said = model(images), teacher()(images).argmax(-1)
        w = effective_number_weights([8, 5, 3])[said] if in_drw else torch.ones(len(said))
        dist = (w * F.cross_entropy(outputs.distillation_logits, said, reduction="none")).sum() / w.sum()
        torch.testing.assert_close(loss, 0.5 * F.cross_entropy(outputs.cls_logits, labels) + 0.5 * dist)


def test_student_and_teacher_see_the_same_mixed_images(tmp_path):
    seen = {}

    class Spy(RowTeacher):
        def forward(self, x):
            seen["teacher"] = x.clone()
            return super().forward(x)

    model = tiny_student().train()
    model.deit.embeddings.register_forward_pre_hook(lambda _, inputs: seen.update(student=inputs[0].clone()))
    trainer = DeiTLTTrainer(
        model, arguments(tmp_path), Teacher(Spy(), None, (0.5,) * 3, (0.5,) * 3), train_dataset=training_images()
    )
    batch = trainer.data_collator([training_images()[(row, 0, row)] for row in range(8)])
    before = batch["pixel_values"].clone()
    trainer.compute_loss(model, batch)
    assert torch.equal(seen["student"], seen["teacher"])
    assert not torch.equal(seen["student"], before)


def test_no_decay_on_tokens_positions_biases_and_norms(tmp_path):
    model = tiny_student()
    trainer = DeiTLTTrainer(model, arguments(tmp_path), train_dataset=training_images())
    optimizer = trainer.create_optimizer()
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    grouped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert id(parameter) in grouped
        free = parameter.ndim == 1 or name.endswith(("cls_token", "distillation_token", "position_embeddings"))
        assert (id(parameter) in decayed) != free, name


@pytest.mark.parametrize(("paper_rule", "expected"), [(False, 5e-4 * 32 * 4 / 512), (True, 5e-4 * 32 / 512)])
def test_learning_rate_rule(tmp_path, paper_rule, expected):
    args = arguments(
        tmp_path, per_device_train_batch_size=32, gradient_accumulation_steps=4, paper_learning_rate_rule=paper_rule
    )
    assert args.learning_rate == pytest.approx(expected)


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


def test_ema_is_its_formula_per_optimiser_step(tmp_path):
    seen = []
    model = tiny_student()

    class Recorder(DeiTLTTrainer):
        def log(self, logs, start_time=None):
            if "loss" in logs:
                seen.append(weights(self.model).clone())
            super().log(logs, start_time)

    start = weights(model).clone()
    args = arguments(tmp_path, ema_decay=0.5, gradient_accumulation_steps=2, num_train_epochs=3)
    trainer = Recorder(model, args, teacher(), train_dataset=training_images())
    trainer.train()
    assert len(seen) == trainer.state.global_step == 6
    average = start
    for step, current in enumerate(seen):
        decay = min(0.5, 1 - (1 + step) ** (-2 / 3))
        average = decay * average + (1 - decay) * current
    torch.testing.assert_close(weights(trainer.ema_callback.ema.module), average, atol=1e-6, rtol=1e-5)
    own = weights(model).clone()
    with trainer.ema_callback.applied_to(model):
        torch.testing.assert_close(weights(model), average, atol=1e-6, rtol=1e-5)
    assert torch.equal(weights(model), own)


@pytest.mark.parametrize("stop", [6, 10])  # in the middle of epoch 1, and of epoch 2, after the DRW switch at step 8
def test_a_resumed_run_ends_with_the_same_weights(tmp_path, stop):
    """Bit for bit, with stochastic depth, mixing, EMA and DRW; 16 images in batches of 4 are 4 steps an epoch."""
    shared = {"num_train_epochs": 3, "drw_start_epoch": 2, "save_strategy": "steps", "save_steps": 2}
    shared["save_total_limit"] = 10
    whole = train(tmp_path / "whole", model=tiny_student(drop_path_rate=0.3), **shared)
    cut = tmp_path / "cut" / f"checkpoint-{stop}"
    shutil.copytree(tmp_path / "whole" / cut.name, cut)
    torch.manual_seed(99)  # what ran before must not matter
    resumed = train(cut.parent, model=tiny_student(seed=9, drop_path_rate=0.3), resume=str(cut), **shared)
    assert resumed.state.global_step == whole.state.global_step == 12
    assert torch.equal(weights(resumed.model), weights(whole.model))
    assert [row["step"] for row in history(cut.parent)] == [*range(stop + 1, 13), 12]  # the last line sums the run up
    averages = [weights(t.ema_callback.ema.module) for t in (whole, resumed)]
    assert torch.equal(*averages)


def test_the_average_is_found_beside_the_checkpoint_that_is_named(tmp_path):
    """Not in the output folder of the new run."""
    shared = {"num_train_epochs": 3, "save_strategy": "epoch", "save_total_limit": 10}
    whole = train(tmp_path / "whole", **shared)
    resumed = train(tmp_path / "other", resume=str(tmp_path / "whole" / "checkpoint-8"), **shared)
    assert torch.equal(*(weights(t.ema_callback.ema.module) for t in (whole, resumed)))


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path):
    train(tmp_path, save_strategy="epoch", num_train_epochs=3, save_total_limit=10)
    assert last_complete_checkpoint(tmp_path) == str(tmp_path / "checkpoint-12")
    (tmp_path / "checkpoint-12" / "trainer_state.json").write_text('{"global_st')
    assert last_complete_checkpoint(tmp_path) == str(tmp_path / "checkpoint-8")
    (tmp_path / "checkpoint-8" / "trainer_state.json").unlink()
    assert last_complete_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert (tmp_path / "checkpoint-4" / "ema.safetensors").is_file()
    assert last_complete_checkpoint(tmp_path / "nowhere") is None


def test_a_history_line_that_was_cut_off_is_dropped(tmp_path):
    train(tmp_path, save_strategy="epoch", num_train_epochs=2)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    train(tmp_path, save_strategy="epoch", num_train_epochs=2, resume=str(tmp_path / "checkpoint-4"))
    assert [row["step"] for row in history(tmp_path)] == [1, 2, 3, 4, 5, 6, 7, 8, 8]


def test_only_complete_students_are_loaded(tmp_path):
    from timm import create_model
    from timm.models import save_for_hf

    save_for_hf(create_model("resnet8_cifar", num_classes=3), tmp_path / "teacher", safe_serialization=True)
    with pytest.raises(CheckpointError, match="holds a timm model"):
        load_student(tmp_path / "teacher")
    student = tiny_student()
    student.save_pretrained(tmp_path / "student")
    assert torch.equal(weights(load_student(tmp_path / "student")), weights(student))
    partial = {name: tensor for name, tensor in student.state_dict().items() if "cls_classifier" not in name}
    student.save_pretrained(tmp_path / "student", state_dict=partial)
    with pytest.raises(CheckpointError, match="does not hold the weights"):
        load_student(tmp_path / "student")
    (tmp_path / "student" / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_student(tmp_path / "student")


def test_a_foreign_checkpoint_is_refused(tmp_path):
    train(tmp_path, model=tiny_student(hidden_size=32), save_strategy="epoch", num_train_epochs=1)
    with pytest.raises(CheckpointError, match="does not hold the weights"):
        train(tmp_path, model=tiny_student(), resume=str(tmp_path / "checkpoint-4"), save_strategy="epoch")


def test_the_teacher_is_in_no_checkpoint(tmp_path):
    from safetensors import safe_open

    trainer = train(tmp_path, save_strategy="epoch")
    with safe_open(tmp_path / "checkpoint-8" / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert len(names) == len(trainer.model.state_dict())
    assert not any("teacher" in name for name in names)


def test_model_selection_keeps_the_best_by_validation(tmp_path):
    held_out = EvaluationImages(picture_dataset((4, 4, 4)), image_processor(8, 1.0))
    args = arguments(
        tmp_path,
        model_selection="validation",
        save_strategy="epoch",
        num_train_epochs=6,
        base_learning_rate=0.05,
        mixing_probability=0.0,
        save_total_limit=20,
    )
    trainer = DeiTLTTrainer(
        tiny_student(),
        args,
        train_dataset=training_images(),
        eval_dataset=held_out,
        processing_class=image_processor(8),
    )
    trainer.train()
    scores = [row["eval_mean_accuracy"] for row in history(tmp_path) if "eval_mean_accuracy" in row]
    assert len(scores) == 6
    assert scores[-1] < max(scores)  # else this run could not tell the best from the last
    reports, prediction = trainer.evaluate_weights(held_out)
    assert reports["best"]["mean"]["accuracy"] == pytest.approx(max(scores))
    assert reports["last"]["mean"]["accuracy"] == pytest.approx(scores[-1])
    assert trainer.report(prediction) == reports["best"] == trainer.report(trainer.predict(held_out))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    model = tiny_student()
    with torch.no_grad():
        model.cls_classifier.bias.fill_(float("nan"))
    with pytest.raises(RunError, match="loss is nan at step 1"):
        train(tmp_path, model=model)


def test_wrong_settings_are_refused(tmp_path):
    with pytest.raises(DataError, match="no class counts"):
        DeiTLTTrainer(tiny_student(class_counts=None), arguments(tmp_path))
    with pytest.raises(DataError, match="do not fill one batch of 64"):
        train(tmp_path, per_device_train_batch_size=64, dataloader_drop_last=True)
    with pytest.raises(ValueError, match="label_smoothing"):
        arguments(tmp_path, label_smoothing_factor=0.1)


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
        ({"learning_rate": 1e-3}, "set base_learning_rate"),
        ({"warmup_epochs": 2}, "must be fewer than num_train_epochs"),
        ({"eval_strategy": "epoch"}, "set model_selection"),
        ({"model_selection": "validation"}, "set save_strategy"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, setting, message):
    with pytest.raises(ValueError, match=message):
        arguments(tmp_path, **setting)


def test_a_smaller_set_than_a_batch_and_an_odd_one_train(tmp_path):
    for counts in ((1, 1, 1), (4, 2, 1)):
        trainer = train(tmp_path / str(sum(counts)), training_images(counts), tiny_student(counts))
        assert np.isfinite(trainer.state.log_history[-1]["train_loss"])


def test_without_a_teacher_drw_weighs_the_ground_truth(tmp_path):
    model = tiny_student().train()
    trainer = DeiTLTTrainer(model, arguments(tmp_path, drw_start_epoch=1), train_dataset=training_images())
    trainer.state.epoch = 1.0
    batch = trainer.data_collator([training_images()[(row, 0, row)] for row in range(0, 16, 3)])
    loss = trainer.compute_loss(model, dict(batch))
    outputs, labels = model(batch["pixel_values"]), batch["labels"]
    w = effective_number_weights([8, 5, 3])
    dist = F.cross_entropy(outputs.distillation_logits, labels, weight=w)
    torch.testing.assert_close(loss, 0.5 * F.cross_entropy(outputs.cls_logits, labels) + 0.5 * dist)


def test_the_weight_average_copies_the_model_alone(tmp_path):
    """The trainer's hook on the model must not drag the trainer, its teacher and its data into the copy."""
    import copy

    trainer = DeiTLTTrainer(tiny_student(), arguments(tmp_path), teacher(), train_dataset=training_images())
    copied = {}
    copy.deepcopy(trainer.model, copied)
    assert not any(isinstance(value, (DeiTLTTrainer, Teacher)) for value in copied.values())
