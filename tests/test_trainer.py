"""DeiTLTTrainer's step against transformers' Trainer, hand formulas and itself."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from helpers import (
    NoWaiting,
    RowTeacher,
    arguments,
    history,
    picture_dataset,
    step_loss,
    teacher,
    tiny_student,
    train,
    training_images,
    weights,
)
from transformers import Trainer, TrainingArguments

from trainer.augmentation import BatchMixing, EvaluationImages, HostImages, ImageKey, image_processor
from trainer.errors import DataError, RunError
from trainer.reweighting import effective_number_weights
from trainer.teachers import Teacher
from trainer.trainer import DeiTLTTrainer

NEUTRAL = {"mixing_probability": 0.0, "label_smoothing": 0.0, "repeats": 1, "ema_decay": 0.0}


def test_neutral_without_a_teacher_it_is_transformers_trainer(tmp_path):
    """Same weights, order and rates: one-hot labels instead of indices leave rounding errors of float32 only."""
    images = [training_images()[ImageKey(row, 0, row)] for row in range(16)]
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
    rate = {"lr_scheduler_type": "constant", "base_learning_rate": 1e-3 * 512 / 4}
    ours = arguments(tmp_path / "b", **{**shared, **NEUTRAL, **rate})
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
    assert one.args.peak_learning_rate == four.args.peak_learning_rate
    assert one.state.global_step == four.state.global_step == 6
    losses = [[row["loss"] for row in history(tmp_path / run) if "loss" in row] for run in "ab"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    torch.testing.assert_close(weights(one.model), weights(four.model), atol=1e-5, rtol=0)


def test_partial_batches_are_left_out_of_training_but_not_of_tests(tmp_path):
    """16 images in pairs of batches of 6: 12 are trained on; Trainer's own dataloader_drop_last would cut the test."""
    trainer = train(tmp_path, per_device_train_batch_size=6, drop_partial_batches=True, per_device_eval_batch_size=5)
    assert trainer.images_per_epoch == 12
    assert trainer.state.max_steps == trainer.state.global_step == 2 * 2
    test = EvaluationImages(picture_dataset((3, 3, 2)), image_processor(8))
    assert len(trainer.predict(test).label_ids) == 8


SAME_IN_DRW = {**NEUTRAL, "num_train_epochs": 3, "drw_start_epoch": 1, "base_learning_rate": 0.05}


def losses_in_one_batch_and_in_four(folder, **settings):
    runs = []
    for name, batch_size, accumulation in (("one", 32, 1), ("four", 8, 4)):
        runs.append(
            train(
                folder / name,
                training_images((32, 20, 12)),
                tiny_student((32, 20, 12)),
                per_device_train_batch_size=batch_size,
                gradient_accumulation_steps=accumulation,
                **{**SAME_IN_DRW, **settings},
            )
        )
    return runs, [[row["loss"] for row in history(folder / run) if "loss" in row] for run in ("one", "four")]


@pytest.mark.parametrize("with_teacher", [True, False])
def test_a_mean_over_the_step_makes_accumulation_change_nothing_in_drw(tmp_path, with_teacher):
    """Four batches of 8 give the steps of one batch of 32, under the re-weighted mean too, up to float32's sums."""
    (one, four), (alone, accumulated) = losses_in_one_batch_and_in_four(
        tmp_path, drw_mean="step", with_teacher=with_teacher
    )
    assert len(alone) == 6
    assert accumulated == pytest.approx(alone, rel=1e-5)
    torch.testing.assert_close(weights(one.model), weights(four.model), atol=2e-5, rtol=0)


def test_the_published_mean_over_each_micro_batch_depends_on_the_split(tmp_path):
    """Before DRW it does not."""
    _, (alone, accumulated) = losses_in_one_batch_and_in_four(tmp_path)
    assert accumulated[:2] == pytest.approx(alone[:2], rel=1e-5)
    assert accumulated[2] != pytest.approx(alone[2], rel=1e-4)


def test_no_gradient_norm_that_nobody_asked_for(tmp_path, monkeypatch):
    """Trainer computes one at every step, only to log it; with clipping it is there anyway."""
    norms = []
    clip = Accelerator.clip_grad_norm_

    def record(*args):
        norms.append(clip(*args))
        return norms[-1]

    monkeypatch.setattr(Accelerator, "clip_grad_norm_", record)
    train(tmp_path / "a")
    assert not norms
    assert not any("grad_norm" in row for row in history(tmp_path / "a"))
    train(tmp_path / "b", max_grad_norm=1.0)
    assert [row["grad_norm"] for row in history(tmp_path / "b") if "loss" in row] == [norm.item() for norm in norms]


def test_a_last_step_of_fewer_batches_is_their_mean(tmp_path):
    """16 images in batches of 4, three accumulated: steps of three batches and of one."""
    train(tmp_path, gradient_accumulation_steps=3)
    rows = [row for row in history(tmp_path) if "loss" in row]
    assert len(rows) == 4
    for row in rows:
        assert row["loss"] == pytest.approx(0.5 * row["loss_cls"] + 0.5 * row["loss_dist"], rel=1e-4)


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
    batch = trainer.data_collator([training_images()[ImageKey(row, 0, row)] for row in range(0, 16, 2)])
    for epoch in (0.75, 1.0):
        trainer.state.epoch = epoch
        loss = step_loss(trainer, {k: v.clone() for k, v in batch.items()})
        images, labels = batch["pixel_values"].clone(), batch["labels"]
        in_drw = epoch >= 1
        if not in_drw or drw_mixing:
            images, labels = BatchMixing(3)(images, labels, 0, 0)
        outputs, said = model(images), teacher()(images).argmax(-1)
        w = effective_number_weights([8, 5, 3])[said] if in_drw else torch.ones(len(said))
        dist = (w * F.cross_entropy(outputs.distillation_logits, said, reduction="none")).sum() / w.sum()
        torch.testing.assert_close(loss, 0.5 * F.cross_entropy(outputs.cls_logits, labels) + 0.5 * dist)


def test_each_epoch_has_an_order_of_its_own(tmp_path):
    """Without a launcher too, where the official sampler stands still: each epoch is another third of the images."""
    images, drawn = training_images((20, 10, 6)), {}

    class Spy(HostImages):
        def __getitems__(self, keys):
            for row, epoch, _ in keys:
                drawn.setdefault(epoch, set()).add(row)
            return super().__getitems__(keys)

    train(tmp_path, Spy(images.dataset, ["affine"], 8), num_train_epochs=3)
    assert sorted(drawn) == [0, 1, 2]
    assert all(len(rows) == 12 for rows in drawn.values())
    assert drawn[0] != drawn[1] != drawn[2]


def test_the_logged_cosine_is_that_of_the_tokens_after_the_last_norm(tmp_path):
    model = tiny_student().train()
    settings = {**NEUTRAL, "num_train_epochs": 1, "per_device_train_batch_size": 16}
    trainer = DeiTLTTrainer(model, arguments(tmp_path, **settings), train_dataset=training_images())
    keys = list(trainer._get_train_sampler())
    pixels = torch.stack([row["pixel_values"] for row in training_images().__getitems__(keys)])
    with torch.no_grad():
        tokens = model.deit(pixels).last_hidden_state
    expected = F.cosine_similarity(tokens[:, 0], tokens[:, 1]).mean().item()
    trainer.train()
    assert history(tmp_path)[0]["cls_dist_cosine"] == pytest.approx(expected, abs=1e-5)


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
    batch = trainer.data_collator([training_images()[ImageKey(row, 0, row)] for row in range(8)])
    before = batch["pixel_values"].clone()
    step_loss(trainer, batch)
    assert torch.equal(seen["student"], seen["teacher"])
    assert not torch.equal(seen["student"], before)


@pytest.mark.parametrize("settings", [{}, {"drw_start_epoch": 1}, {"drw_start_epoch": 1, "drw_mean": "step"}])
def test_no_step_waits_for_the_host(tmp_path, settings):
    """Mixing, teacher, student, loss parts and the step; before DRW and in it, under both means."""
    trainer = DeiTLTTrainer(
        tiny_student(), arguments(tmp_path, **settings), teacher(), train_dataset=training_images()
    )
    trainer.create_optimizer()
    trainer.state.epoch, trainer.current_gradient_accumulation_steps = 1.0, 2
    images = training_images()
    batches = [trainer.data_collator([images[ImageKey(row, 0, row)] for row in range(i, 16, 2)]) for i in (0, 1)]
    with NoWaiting():
        for batch in trainer.get_batch_samples(iter(batches), 2, trainer.args.device)[0]:
            trainer.training_step(trainer.model, batch)
        trainer.optimizer.step()


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


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    model = tiny_student()
    with torch.no_grad():
        model.cls_classifier.bias.fill_(float("nan"))
    with pytest.raises(RunError, match="loss is nan at step 1"):
        train(tmp_path, model=model)


def test_wrong_settings_are_refused(tmp_path):
    with pytest.raises(DataError, match="no class counts"):
        DeiTLTTrainer(tiny_student(class_counts=None), arguments(tmp_path))
    with pytest.raises(DataError, match="multiples of 128 images, which leaves none of 16"):
        train(tmp_path, per_device_train_batch_size=64, drop_partial_batches=True)
    with pytest.raises(DataError, match="wrap the training data"):
        DeiTLTTrainer(tiny_student(), arguments(tmp_path, drop_partial_batches=True), train_dataset=[{}])
    with pytest.raises(ValueError, match="label_smoothing"):
        arguments(tmp_path, label_smoothing_factor=0.1)


def test_a_smaller_set_than_a_batch_and_an_odd_one_train(tmp_path):
    for counts in ((1, 1, 1), (4, 2, 1)):
        trainer = train(tmp_path / str(sum(counts)), training_images(counts), tiny_student(counts))
        assert np.isfinite(trainer.state.log_history[-1]["train_loss"])


def test_without_a_teacher_drw_weighs_the_ground_truth(tmp_path):
    model = tiny_student().train()
    trainer = DeiTLTTrainer(model, arguments(tmp_path, drw_start_epoch=1), train_dataset=training_images())
    trainer.state.epoch = 1.0
    batch = trainer.data_collator([training_images()[ImageKey(row, 0, row)] for row in range(0, 16, 3)])
    loss = step_loss(trainer, dict(batch))
    outputs, labels = model(batch["pixel_values"]), batch["labels"]
    w = effective_number_weights([8, 5, 3])
    dist = F.cross_entropy(outputs.distillation_logits, labels, weight=w)
    torch.testing.assert_close(loss, 0.5 * F.cross_entropy(outputs.cls_logits, labels) + 0.5 * dist)
