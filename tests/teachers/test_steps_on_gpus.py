"""What makes teachers' steps fast and exact on a GPU, as far as a CPU shows it: layouts, precision, launches."""

import json
import shutil

import pytest
import timm
import torch
from datasets import DatasetDict
from helpers import picture_dataset, tiny_student
from safetensors.torch import load_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from trainer.arguments import DistillationArguments
from trainer.losses import PaCoLoss
from trainer.teachers import TeacherTrainer, load_teacher, train_teacher
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.cosine import CosineClassifier
from trainer.teachers.sam import ascended
from trainer.trainer import DeiTLTTrainer

DATA = DatasetDict(train=picture_dataset((12, 8, 4)), test=picture_dataset((5, 4, 3)))


def arguments(folder, **settings):
    defaults = {
        "architecture": "resnet8_cifar",
        "image_size": 8,
        "num_train_epochs": 3,
        "warmup_epochs": 0,
        "per_device_train_batch_size": 8,
        "image_pipeline": "device",
        "second_transform": "crop_flip",
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return TeacherArguments(output_dir=str(folder), **{**defaults, **settings})


@pytest.mark.parametrize("loss", ["ldam", "paco"])
def test_weights_are_channels_last_and_saved_contiguous(tmp_path, loss):
    """In checkpoints and in the teacher's folder; safetensors would refuse others."""
    trainers = []
    start = TeacherTrainer.__init__

    def record(trainer, *args, **kwargs):
        start(trainer, *args, **kwargs)
        trainers.append(trainer)
        convolutions = [w for w in trainer.model.parameters() if w.ndim == 4 and w.shape[1] > 1]
        assert len(convolutions) >= 7
        assert all(w.is_contiguous(memory_format=torch.channels_last) for w in convolutions)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TeacherTrainer, "__init__", record)
        train_teacher(arguments(tmp_path, loss=loss, save_strategy="epoch"), DATA)
    assert len(trainers) == 1
    files = list(tmp_path.glob("**/model.safetensors"))
    assert len(files) == 3  # the teacher's and those of two checkpoints
    for file in files:
        assert all(tensor.is_contiguous() for tensor in load_file(file).values())
    assert load_teacher(str(tmp_path), 3)(torch.randn(2, 3, 8, 8)).shape == (2, 3)


def test_the_step_is_one_launch_for_all_weights(tmp_path):
    """Fused SGD; its steps are those of the plain one (test_sam.py)."""
    trainer = TeacherTrainer(timm.create_model("resnet8_cifar", num_classes=3), arguments(tmp_path), [12, 8, 4])
    assert trainer.create_optimizer().defaults["fused"]


class Launches(TorchDispatchMode):
    """Counts the operations that compute or copy; views launch nothing."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view and func.overloadpacket is not torch.ops.aten.detach
        return func(*args, **(kwargs or {}))


def launches_of_sam(layers):
    model = nn.Sequential(*(nn.Conv2d(4, 4, 3) for _ in range(layers))).to(memory_format=torch.channels_last)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)  # keeps the layout
    with Launches() as launches, ascended(model.parameters(), 0.1):
        pass
    return launches.count


def test_sams_launches_do_not_grow_with_depth():
    assert launches_of_sam(3) == launches_of_sam(60) < 20


def test_cosine_logits_are_float32_under_autocast():
    torch.manual_seed(0)
    classifier, features = CosineClassifier(64, 10), torch.randn(8, 64)
    with torch.autocast("cpu", torch.bfloat16):
        logits = classifier(features)
        low = 30 * nn.functional.linear(nn.functional.normalize(features), nn.functional.normalize(classifier.weight))
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, classifier(features))
    assert (low - logits).abs().max() > 0.01  # what autocast would have made of it


def test_pacos_loss_is_float32_under_autocast():
    torch.manual_seed(0)
    queries, contrast = (nn.functional.normalize(torch.randn(n, 32)) for n in (8, 40))
    queries.requires_grad_()
    labels, contrast_labels = torch.randint(3, (8,)), torch.randint(3, (40,))
    rest = (labels, contrast, contrast_labels, torch.arange(8))
    loss, results = PaCoLoss([6, 3, 1]), []
    for autocast in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = loss(torch.zeros(8, 3), queries, *rest)
        results.append((value, *torch.autograd.grad(value, queries)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_a_first_step_that_overflows_leaves_no_momentum(tmp_path):
    """fp16's scaler begins too high on purpose; torch's fused SGD then leaves its fresh momentum unwritten."""
    model = nn.Conv2d(3, 4, 3)
    trainer = TeacherTrainer(model, arguments(tmp_path, learning_rate=0.1), [12, 8, 4])
    before = [p.detach().clone() for p in model.parameters()]
    torch.use_deterministic_algorithms(True)  # fills memory that nobody has written with NaN
    try:
        optimizer, scaler = trainer.create_optimizer(), torch.amp.GradScaler("cpu", init_scale=2.0)  # halved once
        for gradient in (torch.inf, 1.0):
            scaler.scale(torch.tensor(1.0))  # it begins with its first loss
            for p in model.parameters():
                p.grad = torch.full_like(p, gradient)
            scaler.step(optimizer)
            scaler.update()
    finally:
        torch.use_deterministic_algorithms(False)
    decay = trainer.args.weight_decay
    for p, b in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), b - 0.1 * (1 + decay * b))


def test_the_precision_of_a_teacher_is_its_own_setting(tmp_path, monkeypatch):
    """Not the launcher's; and Accelerate, which has one precision per process, is free for the student's after it."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    args = arguments(tmp_path / "teacher", num_train_epochs=1)
    assert args.mixed_precision == "no"
    assert arguments(tmp_path, bf16=True).mixed_precision == "bf16"
    train_teacher(arguments(tmp_path / "teacher", num_train_epochs=1), DATA)
    settings = {"bf16": True, "use_cpu": True, "num_train_epochs": 6, "save_strategy": "no"}
    student = DistillationArguments(output_dir=str(tmp_path / "student"), **settings)
    train_teacher(args, DATA)
    trainer = DeiTLTTrainer(tiny_student((12, 8, 4)), student)
    assert trainer.accelerator.mixed_precision == "bf16"


def test_last_epoch_is_kept_and_the_best_on_the_test_images_named(tmp_path):
    result = train_teacher(arguments(tmp_path, eval_strategy="epoch", num_train_epochs=4), DATA)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    accuracies = [row["eval_accuracy"] for row in rows if "eval_accuracy" in row]
    best = result.best_epoch_on_test
    assert len(accuracies) == 4
    assert result.figures["accuracy"] == accuracies[-1]
    assert best["accuracy"] == max(accuracies)
    assert best["epoch"] == 1 + accuracies.index(max(accuracies))
    assert best.keys() - {"epoch"} == result.figures.keys()
    assert train_teacher(arguments(tmp_path / "b", num_train_epochs=1), DATA).best_epoch_on_test is None


def test_a_resumed_teacher_counts_its_own_images_and_needs_its_first_checkpoint_no_more(tmp_path):
    """24 images an epoch in 3 steps; resumed at step 6 of 9, this process trains on 24 of 72 images."""
    settings = {"num_train_epochs": 3, "save_strategy": "epoch"}
    whole = train_teacher(arguments(tmp_path / "whole", save_total_limit=9, **settings), DATA)
    first = tmp_path / "cut" / "checkpoint-6"
    shutil.copytree(tmp_path / "whole" / first.name, first)
    resumed = train_teacher(arguments(tmp_path / "cut", save_total_limit=1, **settings), DATA, checkpoint=str(first))
    assert not first.exists()
    assert resumed.figures == whole.figures
    for result, images in ((whole, 72), (resumed, 24)):
        assert result.images_per_second == pytest.approx(images / result.seconds)


def test_test_images_on_the_device_are_the_evaluation_images(tmp_path):
    from trainer.augmentation import PIPELINES, collate
    from trainer.data import RGB
    from trainer.teachers.training import test_images as images_of

    kept, plain = (
        images_of(arguments(tmp_path, image_pipeline=where), DATA["test"], RGB) for where in PIPELINES[::-1]
    )
    rows = [7, 0, 11]
    batch, expected = collate(kept.__getitems__(rows)), collate(plain.__getitems__(rows))
    assert len(kept) == len(plain) == 12
    assert torch.equal(batch["pixel_values"], expected["pixel_values"])
    assert torch.equal(batch["labels"], expected["labels"])
