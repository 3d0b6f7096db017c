"""Teachers: architectures, loading by every way, the near-chance check, training."""

import json
import pickle
import shutil

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
from PIL import Image as PILImage
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

from trainer.augmentation import HostImages
from trainer.errors import TeacherError
from trainer.teachers import Teacher, check_teacher, load_teacher, train_teacher
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.cosine import CosineClassifier


def bright_or_dark(per_class=(30, 10)):
    """Two classes that one glance tells apart: dark pictures and bright ones."""
    rng = np.random.default_rng(0)
    images, labels = [], []
    for label, count in enumerate(per_class):
        for _ in range(count):
            pixels = rng.integers(150 * label, 150 * label + 100, (8, 8, 3), dtype=np.uint8)
            images.append(PILImage.fromarray(pixels))
            labels.append(label)
    features = Features({"image": Image(), "label": ClassLabel(names=["dark", "bright"])})
    return Dataset.from_dict({"image": images, "label": labels}, features)


class Brightness(nn.Module):
    """Says `bright` for pixels above the middle, or always the same, or by chance."""

    def __init__(self, kind="right"):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        score = x.mean(dim=(1, 2, 3))
        if self.kind == "constant":
            score = torch.zeros_like(score) - 1
        if self.kind == "blind":
            score = torch.randn(len(x), generator=torch.Generator().manual_seed(0))
        return torch.stack([-score, score], dim=-1)


def as_teacher(model):
    return Teacher(model, None, (0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (56, 0.85)])
def test_sizes_are_those_of_he_et_al(depth, millions):
    """Table 6 of He et al., CVPR 2016, in millions of parameters."""
    model = timm.create_model(f"resnet{depth}_cifar", num_classes=10)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(layers) == depth  # option A: shortcuts have no layers of their own
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_cosine_classifier_is_the_formula():
    classifier, features = CosineClassifier(6, 3, scale=30.0), torch.randn(4, 6)
    expected = 30 * F.cosine_similarity(features[:, None], classifier.weight[None], dim=-1)
    torch.testing.assert_close(classifier(features), expected)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A teacher of two seconds, for the tests that only need a folder."""
    folder = tmp_path_factory.mktemp("teacher")
    data = bright_or_dark()
    args = TeacherArguments(
        output_dir=str(folder),
        architecture="resnet8_cifar",
        image_size=8,
        loss="ldam",
        drw_start_epoch=6,
        num_train_epochs=8,
        lr_milestones=[7],
        warmup_epochs=1,
        per_device_train_batch_size=10,
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
    )
    return folder, train_teacher(args, DatasetDict(train=data, test=data))


def test_training_learns_and_writes_a_folder(trained):
    folder, result = trained
    assert result.figures["accuracy"] > 95  # 75 is what the head class alone gives
    assert json.loads((folder / "config.json").read_text())["label_names"] == ["dark", "bright"]
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert history[-1]["epoch"] == 8


def test_timm_reads_the_folder(trained):
    folder, _ = trained
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = torch.randn(3, 3, 8, 8)
    assert isinstance(model.fc, CosineClassifier)
    torch.testing.assert_close(load_teacher(str(folder), 2)(images), model(images).detach())


def test_hugging_face_classifiers_are_teachers_too(tmp_path):
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], num_labels=3)
    model = ResNetForImageClassification(config).eval()
    model.save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=[0.4] * 3, image_std=[0.2] * 3).save_pretrained(
        tmp_path
    )
    teacher = load_teacher(str(tmp_path), 3)
    images = torch.randn(2, 3, 16, 16)
    assert teacher.image_size == 16
    torch.testing.assert_close(teacher(images), model(images).logits)


def test_resizing_is_bicubic_without_antialiasing(trained):
    teacher, images = load_teacher(str(trained[0]), 2), torch.randn(2, 3, 32, 32)
    small = F.interpolate(images, (8, 8), mode="bicubic", align_corners=False, antialias=False)
    assert torch.equal(teacher(images), teacher(small))


def test_own_normalisation_gives_the_teacher_its_pixels():
    pixels = torch.rand(2, 3, 8, 8)
    student_mean, student_std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    mean, std = (0.49, 0.48, 0.45), (0.2, 0.21, 0.22)
    seen = Teacher(nn.Identity(), None, mean, std, "own")((pixels - student_mean) / student_std)
    torch.testing.assert_close(seen * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1), pixels)


def test_a_teacher_is_frozen_and_stays_in_evaluation(trained):
    teacher = load_teacher(str(trained[0]), 2)
    teacher.train()
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    assert not teacher(torch.randn(4, 3, 8, 8)).requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())


def test_another_number_of_classes_is_refused(trained):
    with pytest.raises(TeacherError, match="has 2 classes, the data have 7"):
        load_teacher(str(trained[0]), 7)


@pytest.mark.parametrize("name", ["./nowhere", "resnet_that_is_not", "nobody/nothing"])
def test_nothing_to_load_is_one_line(name):
    with pytest.raises(TeacherError, match=r"cannot be loaded \([^\n]*\); give") as error:
        load_teacher(name, 2)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{}"),
        ("config.json", b"[1, 2"),
        ("config.json", b'{"architecture": "resnet_that_is_not"}'),
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 100),
        ("model.safetensors", None),
    ],
)
def test_a_broken_folder_is_one_line(trained, tmp_path, name, content):
    folder = shutil.copytree(trained[0], tmp_path / "broken")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(TeacherError, match=r"cannot be loaded \([^\n]*\); give") as error:
        load_teacher(str(folder), 2)
    assert "\n" not in str(error.value)


def test_pickled_weights_that_are_none_are_one_line(tmp_path):
    """A Hugging Face folder from before safetensors."""
    ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], num_labels=3).save_pretrained(tmp_path)
    ViTImageProcessor().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"architectures": ["ResNetForImageClassification"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for content in (b"", pickle.dumps({"weights": "none"})):
        (tmp_path / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(TeacherError, match=r"cannot be loaded \([^\n]*\); give"):
            load_teacher(str(tmp_path), 3)


def test_a_good_teacher_passes_the_check():
    images = HostImages(bright_or_dark(), ["crop_flip"], 8)
    assert check_teacher(as_teacher(Brightness()), images, torch.device("cpu")) > 95


@pytest.mark.parametrize("kind", ["constant", "blind"])
def test_a_teacher_near_chance_is_refused(kind):
    """`constant` is right on three quarters of the training images, and still knows nothing."""
    images = HostImages(bright_or_dark(), ["crop_flip"], 8)
    with pytest.raises(TeacherError, match="near chance"):
        check_teacher(as_teacher(Brightness(kind)), images, torch.device("cpu"))


def test_drw_and_margins_enter_the_training_loss(tmp_path):
    from trainer.losses import LDAMLoss
    from trainer.reweighting import effective_number_weights
    from trainer.teachers import TeacherTrainer

    args = TeacherArguments(
        output_dir=str(tmp_path), num_train_epochs=6, drw_start_epoch=2, use_cpu=True, report_to="none"
    )
    model = Brightness().train()
    trainer = TeacherTrainer(model, args, [30, 10])
    images, labels = torch.randn(6, 3, 8, 8), torch.tensor([0, 1, 0, 1, 0, 1])
    for epoch, weights in ((1.9, None), (2.0, effective_number_weights([30, 10]))):
        trainer.state.epoch = epoch
        loss = trainer.compute_loss(model, {"pixel_values": images, "labels": labels})
        torch.testing.assert_close(loss, LDAMLoss([30, 10])(model(images), labels, weights))


def test_step_schedule(tmp_path):
    from trainer.teachers import TeacherTrainer

    args = TeacherArguments(
        output_dir=str(tmp_path), num_train_epochs=20, warmup_epochs=5, lr_milestones=[16, 18], use_cpu=True
    )
    trainer = TeacherTrainer(nn.Linear(2, 2), args, [3, 2])
    trainer.create_optimizer()
    trainer.create_scheduler(num_training_steps=40)
    rates = []
    for _ in range(40):
        rates.append(trainer.lr_scheduler.get_last_lr()[0])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    expected = [0.02, 0.04, 0.06, 0.08, 0.1] + [0.1] * 11 + [0.001] * 2 + [0.00001] * 2
    assert rates[::2] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "resnet_that_is_not"}, "Unknown model"),
        ({"architecture": "levit_128s", "loss": "ldam"}, "linear layer"),
        ({"architecture": "levit_128s", "loss": "paco"}, "linear layer"),
        ({"architecture": "vgg11", "loss": "cross_entropy", "image_size": 16}, "vgg11, 16 px: .*too small"),
        ({"architecture": "vit_tiny_patch16_224", "loss": "cross_entropy"}, "32 px: .*doesn't match model"),
    ],
)
def test_an_architecture_that_cannot_be_built_is_refused(tmp_path, settings, message):
    args = TeacherArguments(output_dir=str(tmp_path), use_cpu=True, **settings)
    data = bright_or_dark((2, 2))
    with pytest.raises(TeacherError, match=message):
        train_teacher(args, DatasetDict(train=data, test=data))
