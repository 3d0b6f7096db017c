"""Defaults that follow from the machine: precision, workers, threads; and what the user gave, which wins."""

import dataclasses
import os

import pytest
import torch
from helpers import arguments

from trainer import base_arguments, machine
from trainer.teachers.arguments import TeacherArguments

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("cores", "ranks", "device", "workers"),
    [
        (1, 1, CPU, 0),
        (2, 1, CPU, 0),
        (8, 1, CPU, 1),
        (8, 4, CPU, 0),
        (16, 1, GPU, 15),
        (64, 2, GPU, 16),
        (16, 8, GPU, 1),
        (1, 1, GPU, 0),
    ],
)
def test_workers_from_cores_and_ranks(monkeypatch, cores, ranks, device, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    assert machine.default_workers(device) == workers


def test_workers_that_are_given_win(tmp_path, monkeypatch):
    monkeypatch.setattr(base_arguments, "default_workers", lambda device: 3)
    settings = {"output_dir": str(tmp_path), "use_cpu": True}
    assert TeacherArguments(**settings).dataloader_num_workers == 3
    assert TeacherArguments(**settings, dataloader_num_workers=0).dataloader_num_workers == 0
    assert TeacherArguments(**settings, dataloader_prefetch_factor=4).dataloader_prefetch_factor == 4


@pytest.mark.parametrize(
    ("given", "launcher", "fast", "precision"),
    [
        ({}, "no", True, "bf16"),
        ({}, "no", False, "no"),
        ({}, "fp16", True, "fp16"),
        ({"precision": "float32"}, "fp16", True, "no"),
        ({"precision": "bf16"}, "no", False, "bf16"),
        ({"bf16": True}, "no", False, "bf16"),
        ({"bf16": False}, "no", True, "no"),
        ({"fp16": True}, "no", True, "fp16"),
        ({"precision": "bf16", "bf16": True}, "no", False, "bf16"),
    ],
)
def test_precision(tmp_path, monkeypatch, given, launcher, fast, precision):
    """transformers' bf16 and fp16 are the same setting in another spelling; false is a wish too."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launcher)
    monkeypatch.setattr(base_arguments, "bf16_is_fast", lambda device: fast)
    args = arguments(tmp_path, **given)
    assert args.mixed_precision == precision
    assert dataclasses.replace(args, precision="float32", bf16=None, fp16=None).mixed_precision == "no"


def test_precisions_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(ValueError, match="precision float32 and bf16 contradict"):
        arguments(tmp_path, precision="float32", bf16=True)


def test_a_teacher_is_float32_unless_it_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setattr(base_arguments, "bf16_is_fast", lambda device: True)
    settings = {"output_dir": str(tmp_path), "use_cpu": True}
    assert TeacherArguments(**settings).mixed_precision == "no"
    assert TeacherArguments(**settings, precision="bf16").mixed_precision == "bf16"


def test_on_a_cpu_bf16_is_never_chosen():
    assert not machine.bf16_is_fast(CPU)


def test_threads_are_what_workers_leave_and_come_back(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(machine, "cores_per_rank", lambda: 5)
    with machine.threads_beside(2, CPU):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with machine.threads_beside(2, CPU):
        assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("start", "epochs", "first"),
    [(None, 10, None), (0, 10, 0), (7, 10, 7), (0.9, 600, 540), (0.9, 3, 2), (0.9, 1, 0), (0.5, 3, 2)],
)
def test_drw_from_an_epoch_or_a_share_of_them(tmp_path, start, epochs, first):
    args = arguments(tmp_path, num_train_epochs=epochs, drw_start_epoch=start)
    assert args.drw_epoch == first
    assert args.drw_start_epoch == start  # what was given stays
    if first is not None:
        assert args.in_drw(first)
        assert not args.in_drw(first - 0.01) or first == 0


def test_half_epochs_of_drw_are_refused(tmp_path):
    with pytest.raises(ValueError, match="a whole number, or a share below 1"):
        arguments(tmp_path, num_train_epochs=10, drw_start_epoch=7.5)
