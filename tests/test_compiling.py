"""Compilation: when it pays, that a training compiles once, and that padded batches learn what plain ones learn."""

import os
import shutil

import pytest
import torch
from helpers import arguments, history, picture_dataset, tiny_student, training_images
from torch import nn

from trainer import compiling
from trainer.compiling import LONG, compilation_pays, padded
from trainer.data import RGB
from trainer.teachers import Teacher
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.training import build_classifier, teacher_trainer
from trainer.teachers.training import training_images as training_images_of_a_teacher
from trainer.trainer import DeiTLTTrainer

CPU, GPU = torch.device("cpu"), torch.device("cuda")
DRW = {"num_train_epochs": 3, "drw_start_epoch": 1, "warmup_epochs": 0}


@pytest.mark.parametrize(
    ("device", "precision", "batches", "pays"),
    [
        (GPU, "bf16", LONG, True),
        (GPU, "no", LONG, True),
        (GPU, "bf16", LONG - 1, False),
        (CPU, "bf16", LONG, True),
        (CPU, "no", LONG, False),
    ],
)
def test_it_pays_in_long_runs_on_a_gpu_or_in_bf16(monkeypatch, device, precision, batches, pays):
    monkeypatch.setattr(compiling, "can_compile", lambda device: True)
    monkeypatch.setattr(compiling, "cpu_has_bf16", lambda: True)
    assert compilation_pays(device, precision, batches) is pays
    monkeypatch.setattr(compiling, "cpu_has_bf16", lambda: False)
    assert compilation_pays(CPU, "bf16", LONG) is False


def test_without_a_compiler_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    assert not any(compilation_pays(device, "bf16", LONG) for device in (CPU, GPU))


@pytest.mark.parametrize(
    ("settings", "compiles"),
    [({}, False), ({"torch_compile": True}, True), ({"torch_compile_mode": "default"}, True)],
)
def test_who_asks_gets_it_and_no_later_network_does(tmp_path, settings, compiles):
    before = {name: value for name, value in os.environ.items() if "DYNAMO" in name}
    args = arguments(tmp_path, **settings)
    trainer = DeiTLTTrainer(tiny_student(), args, train_dataset=training_images())
    assert trainer.compiles is compiles
    assert {name: value for name, value in os.environ.items() if "DYNAMO" in name} == before
    assert args.torch_compile == settings.get("torch_compile", "auto")
    assert trainer.accelerator.state.dynamo_plugin.backend.value.lower() == "no"


def test_what_auto_means_follows_the_batches_of_the_run(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("trainer.trainer.compilation_pays", lambda *facts: asked.append(facts) or True)
    trainer = DeiTLTTrainer(tiny_student(), arguments(tmp_path, num_train_epochs=5), train_dataset=training_images())
    assert trainer.compiles
    assert asked == [(CPU, "no", 5 * 16 // 4)]


def test_padded_batches_have_one_shape():
    images = torch.arange(6.0).view(3, 2)
    assert torch.equal(padded(images, 5), torch.cat([images, images[:1], images[:1]]))
    assert padded(images, 3) is images


class Brightness(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, images):
        return images.mean(dim=(1, 2, 3)).unsqueeze(1) * self.weight * torch.tensor([-1.0, 0.0, 1.0])


def counted(monkeypatch):
    """A stand-in for the compiler: the names and image shapes of what it is asked to compile."""
    shapes = set()

    def compile(network, **settings):
        def call(*args, **kwargs):
            images = args[0] if args else kwargs["pixel_values"]
            shapes.add((type(network).__name__, tuple(images.shape)))
            return network(*args, **kwargs)

        return call

    monkeypatch.setattr(torch, "compile", compile)
    return shapes


def trained(folder, monkeypatch, compiled):
    """A run of three epochs with DRW and a last batch of two images."""
    shapes = counted(monkeypatch)
    args = arguments(folder, torch_compile=compiled, per_device_train_batch_size=6, **DRW)
    teacher = Teacher(Brightness(), None, (0.5,) * 3, (0.5,) * 3)
    trainer = DeiTLTTrainer(tiny_student(), args, teacher, train_dataset=training_images((8, 5, 1)))
    trainer.train()
    return trainer, shapes


def test_a_training_compiles_one_shape_of_each_network_and_learns_the_same(tmp_path, monkeypatch):
    """At the switch to DRW, with and without mixing, and at the last batch; float32 sums in another order apart."""
    plain, none = trained(tmp_path / "plain", monkeypatch, False)
    compiled, shapes = trained(tmp_path / "compiled", monkeypatch, True)
    assert not none
    assert {shape for _, shape in shapes} == {(6, 3, 8, 8)}
    assert {name for name, _ in shapes} == {"DeiTLTForImageClassification", "Teacher"}
    for one, other in zip(plain.model.parameters(), compiled.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=0)
    losses = [[row["loss"] for row in history(tmp_path / name) if "loss" in row] for name in ("plain", "compiled")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@pytest.mark.parametrize("settings", [{"loss": "ldam", "sam_rho": [0.1]}, {"loss": "paco", "paco_queue": 16}])
def test_a_teachers_whole_batches_are_compiled(tmp_path, monkeypatch, settings):
    shapes = counted(monkeypatch)
    args = TeacherArguments(
        output_dir=str(tmp_path), architecture="resnet8_cifar", image_size=8, num_train_epochs=1, warmup_epochs=0,
        per_device_train_batch_size=6, save_strategy="no", torch_compile=True, use_cpu=True, disable_tqdm=True,
        second_transform="crop_flip", **settings,
    )  # fmt: skip
    data = picture_dataset((8, 5, 3))  # the last of three batches has four images
    trainer = teacher_trainer(
        build_classifier(args, 3), args, [8, 5, 3], train_dataset=training_images_of_a_teacher(args, data, RGB)
    )
    trainer.train()
    assert {shape for _, shape in shapes} == {(6, 3, 8, 8)}
    assert len(shapes) == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for a CPU with g++")
def test_the_real_compiler_sees_one_graph_of_the_student_and_of_the_teacher(tmp_path):
    """No graph break, no second graph: not at mixing, the switch to DRW, the last batch, or a log."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    args = arguments(tmp_path, torch_compile=True, per_device_train_batch_size=6, logging_steps=1, **DRW)
    teacher = Teacher(Brightness(), None, (0.5,) * 3, (0.5,) * 3)
    DeiTLTTrainer(tiny_student(), args, teacher, train_dataset=training_images((8, 5, 1))).train()
    assert not torch._dynamo.utils.counters["graph_break"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
