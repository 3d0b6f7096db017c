"""PaCo: queue, momentum, what is saved, SAM's two passes, and two ranks against one. Its loss is in test_losses.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from datasets import DatasetDict
from helpers import picture_dataset
from torch import nn

from trainer.losses import PaCoLoss
from trainer.teachers import PaCoTrainer, load_teacher, train_teacher
from trainer.teachers.arguments import TeacherArguments

sys.path.insert(0, str(Path(__file__).parent))
from paco_worker import tiny_paco

TESTS = Path(__file__).parents[1]


def arguments(folder, **settings):
    defaults = {
        "loss": "paco",
        "architecture": "resnet8_cifar",
        "image_size": 8,
        "num_train_epochs": 4,
        "warmup_epochs": 1,
        "per_device_train_batch_size": 8,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return TeacherArguments(output_dir=str(folder), **{**defaults, **settings})


def test_the_queue_replaces_its_oldest_keys():
    model = tiny_paco(queue_size=5)
    model.enqueue(torch.full((3, 4), 1.0), torch.tensor([0, 1, 2]))
    assert model.queue_labels.tolist() == [0, 1, 2, -1, -1]
    model.enqueue(torch.full((3, 4), 2.0), torch.tensor([2, 2, 1]))
    assert model.queue_labels.tolist() == [1, 1, 2, 2, 2]
    assert model.queue[:, 0].tolist() == [2, 1, 1, 2, 2]
    model.enqueue(torch.arange(7.0)[:, None].expand(7, 4), torch.arange(7))  # more than it holds: the last remain
    assert sorted(model.queue_labels.tolist()) == [2, 3, 4, 5, 6]
    assert torch.equal(model.queue[:, 0], model.queue_labels.float())


def test_the_key_encoder_follows_with_momentum():
    model = tiny_paco()
    before = [p.clone() for p in model.key_classifier.parameters()]
    with torch.no_grad():
        for p in model.classifier.parameters():
            p += 1
    model.follow()
    for p, b in zip(model.key_classifier.parameters(), before, strict=True):
        torch.testing.assert_close(p, b + 0.1)
        assert not p.requires_grad


def batch(size=6):
    torch.manual_seed(3)
    images = torch.randn(2, size, 3, 8, 8)
    return {"pixel_values": images[0], "second_view": images[1], "labels": torch.tensor([0, 1, 2] * (size // 3))}


def test_one_step_is_the_definition(tmp_path):
    """Loss against queries, keys and the queue; then the keys enter the queue, once though SAM runs twice."""
    args = arguments(tmp_path, sam_rho=[0.3], warmup_epochs=0)
    trainer = PaCoTrainer(tiny_paco(), args, [6, 3, 1])
    trainer.create_optimizer()
    trainer.state.epoch, trainer.current_gradient_accumulation_steps = 0.0, 1
    model, inputs = trainer.model, batch()
    model.enqueue(F.normalize(torch.randn(7, 4)), torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    with torch.no_grad():
        keys = model.keys(inputs["second_view"])
        logits, queries = model(inputs["pixel_values"])
    labels = inputs["labels"]
    contrast = torch.cat([queries, keys, model.queue])
    contrast_labels = torch.cat([labels, labels, model.queue_labels])
    expected = PaCoLoss([6, 3, 1])(logits, queries, labels, contrast, contrast_labels, torch.arange(6))
    weights = [p.detach().clone() for p in model.parameters()]
    loss = trainer.training_step(model, inputs)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(model.queue[7:13], keys)
    assert model.queue_place == 13
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), weights, strict=True))  # SAM came back
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paco")
    data = picture_dataset((30, 15, 6))
    args = arguments(
        folder, train_transform="crop_flip", image_pipeline="device", num_train_epochs=8, paco_queue=64, sam_rho=[0.05]
    )
    return folder, train_teacher(args, DatasetDict(train=data, test=picture_dataset((8, 8, 8))))


def test_it_learns(trained):
    _, result = trained
    assert result.figures["accuracy"] > 80  # chance is 33


def test_the_saved_teacher_is_backbone_and_linear_classifier_alone(trained):
    folder, _ = trained
    plain = timm.create_model("resnet8_cifar", num_classes=3)
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert loaded.state_dict().keys() == plain.state_dict().keys()
    assert isinstance(loaded.fc, nn.Linear)
    assert load_teacher(str(folder), 3)(torch.randn(2, 3, 8, 8)).shape == (2, 3)


def test_a_run_that_was_cut_off_ends_with_the_same_weights(tmp_path):
    """Queue, its place and the key encoder are part of the checkpoint."""
    data = DatasetDict(train=picture_dataset((12, 8, 4)), test=picture_dataset((3, 3, 3)))
    weights = []
    for folder, checkpoint in (("whole", None), ("resumed", tmp_path / "whole" / "checkpoint-6")):
        args = arguments(
            tmp_path / folder,
            image_pipeline="device",
            sam_rho=[0.1],
            save_strategy="steps",
            save_steps=6,
            paco_queue=40,
        )
        train_teacher(args, data, checkpoint=checkpoint and str(checkpoint))
        weights.append(load_teacher(str(tmp_path / folder), 3).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(weights[0].values(), weights[1].values(), strict=True))


def test_drw_beside_the_prior_is_refused(tmp_path):
    with pytest.raises(ValueError, match="drw_start_epoch"):
        arguments(tmp_path, drw_start_epoch=2)


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory):
    results = []
    common = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    path = os.pathsep.join(map(str, (TESTS.parent, TESTS)))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for ranks, batch_size in ((1, 8), (2, 4)):
        folder = tmp_path_factory.mktemp(f"ranks{ranks}")
        flags = ["--num_processes", str(ranks), *(["--multi_gpu"] if ranks == 2 else [])]
        command = [sys.executable, "-m", "accelerate.commands.launch", *flags, *common]
        command += [str(TESTS / "teachers" / "paco_worker.py"), str(folder), str(batch_size)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        results.append([json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(ranks)])
    (one,), two = results
    assert one["world_size"] == 1
    assert [rank["world_size"] for rank in two] == [2, 2]
    return one, two


@pytest.mark.slow
def test_two_ranks_have_the_loss_and_the_steps_of_one(one_and_two):
    """Same global batches, contrast over both ranks with gradients, one ascent for both: up to float32 sums."""
    one, two = one_and_two
    assert len(one["losses"]) == 12
    for rank in two:
        assert rank["losses"] == pytest.approx(one["losses"], rel=1e-4)
        np.testing.assert_allclose(rank["weights"], one["weights"], atol=1e-4)


@pytest.mark.slow
def test_two_ranks_remember_the_same_keys(one_and_two):
    """All keys of both; within a batch their order is the ranks', so it is compared as a set."""
    one, two = one_and_two
    assert two[0]["queue"] == two[1]["queue"]
    for rank in two:
        assert rank["queue_place"] == one["queue_place"]
        assert sorted(rank["queue_labels"]) == sorted(one["queue_labels"])
        np.testing.assert_allclose(sorted(rank["queue"]), sorted(one["queue"]), atol=1e-3)
