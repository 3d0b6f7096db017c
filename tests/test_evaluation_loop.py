"""Evaluation during and after training: its batches, its workers, and that training does not notice it."""

import os

import pytest
import torch
from helpers import arguments, picture_dataset, tiny_student, train, training_images, weights
from torch.utils.data import Dataset

from trainer.teachers.arguments import TeacherArguments
from trainer.trainer import DeiTLTTrainer


def test_batches_are_twice_those_of_training_unless_given(tmp_path):
    assert arguments(tmp_path, per_device_train_batch_size=6).eval_batch_size == 12
    assert arguments(tmp_path, per_device_train_batch_size=6, per_device_eval_batch_size=5).eval_batch_size == 5
    assert TeacherArguments(output_dir=str(tmp_path), per_device_train_batch_size=9).eval_batch_size == 18


@pytest.fixture
def seen(monkeypatch):
    """What each batch of an evaluation was: its size, whether in inference mode, and its first pixel."""
    compute_loss, batches = DeiTLTTrainer.compute_loss, []

    def noticing(trainer, model, inputs, *args, **kwargs):
        if not model.training:
            pixels = inputs["pixel_values"]
            batches.append((len(pixels), torch.is_inference_mode_enabled(), pixels.flatten()[0].item()))
        return compute_loss(trainer, model, inputs, *args, **kwargs)

    monkeypatch.setattr(DeiTLTTrainer, "compute_loss", noticing)
    return batches


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_training_does_not_notice_an_evaluation(tmp_path, seen, compiled):
    """In inference mode, whose tensors must not come into a training step."""
    torch._dynamo.reset()
    settings = {"per_device_train_batch_size": 3, "num_train_epochs": 2, "torch_compile": compiled}
    alone = train(tmp_path / "alone", **settings)
    assert seen == []
    trainer = DeiTLTTrainer(
        tiny_student(label2id={f"level{c}": c for c in range(3)}, id2label={c: f"level{c}" for c in range(3)}),
        arguments(tmp_path / "evaluated", eval_strategy="steps", eval_steps=2, **settings),
        alone.teacher,
        train_dataset=training_images(),
        eval_dataset=picture_dataset((3, 3, 3)),
    )
    trainer.train()
    assert {(size, inference) for size, inference, _ in seen} == {(6, True), (3, True)}
    assert len(seen) == 2 * trainer.state.global_step // 2
    assert torch.equal(weights(trainer.model), weights(alone.model))


class WhereFrom(Dataset):
    """Images of which each pixel is the number of the process that made it."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"pixel_values": torch.full((3, 8, 8), float(os.getpid())), "labels": index % 3}


def test_workers_are_kept_from_one_evaluation_to_the_next(tmp_path, seen):
    """A new start of them would cost more than an epoch of a small data set."""
    trainer = DeiTLTTrainer(
        tiny_student(),
        arguments(tmp_path, eval_strategy="epoch", num_train_epochs=3, dataloader_num_workers=1),
        train_dataset=training_images(),
        eval_dataset=WhereFrom(),
    )
    trainer.train()
    workers = {int(pixel) for _, _, pixel in seen}
    assert len(seen) == 3
    assert len(workers) == 1
    assert os.getpid() not in workers
    with pytest.raises(ProcessLookupError):
        os.kill(workers.pop(), 0)  # and they end with the training
