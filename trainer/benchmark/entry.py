"""One contestant in one case: its settings, networks and optimiser steps, the same for all contestants of a case."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from modeling_deit_lt import DeiTLTForImageClassification
from trainer.arguments import DistillationArguments, ModelArguments
from trainer.base_arguments import RunArguments
from trainer.benchmark.cases import Case
from trainer.students import build_student
from trainer.teachers import Teacher, cifar_resnet  # noqa: F401  (registers its models with timm)
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.training import build_classifier

CLASSES = 10
WARM_UP = 3  # steps
ENDLESS = 1e6  # epochs: the turns end the training
NO_LOADING = {"dataloader_num_workers": 0, "dataloader_pin_memory": False}


@dataclass(frozen=True)
class Entry:
    """What a contestant's process is told.

    Attributes:
        case: what it trains.
        ours: whether by this package's Trainer.
        settings: its precision and compilation.
        data: "synthetic", or an `image_pipeline`, of which plain loops can have "host" alone.
        batch_size: images of a step; even, since timm mixes pairs.
        epoch_batches: of an epoch, at whose begin the device pipeline may augment all its images.
        use_cpu: leave an accelerator alone.
        folder: an empty one, for what a training writes.
    """

    case: Case
    ours: bool
    settings: dict
    data: str
    batch_size: int
    epoch_batches: int
    use_cpu: bool
    folder: str

    @classmethod
    def from_message(cls, message: dict) -> Entry:
        """The entry of which `to_message` made a message."""
        return cls(**{**message, "case": Case(**message["case"])})

    def to_message(self) -> dict:
        """As JSON takes it."""
        return asdict(self)

    @property
    def rows(self) -> int:
        """Training images."""
        return self.epoch_batches * self.batch_size

    @property
    def counts(self) -> list[int]:
        """(C,) training images per class."""
        return [self.rows // CLASSES + (c < self.rows % CLASSES) for c in range(CLASSES)]

    def arguments(self) -> RunArguments:
        """The training's settings: nothing is logged, saved, evaluated or averaged, and there is no DRW."""
        common = {
            "output_dir": self.folder,
            "per_device_train_batch_size": self.batch_size,
            "num_train_epochs": ENDLESS,
            "warmup_epochs": 0,
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
            "use_cpu": self.use_cpu,
            **(NO_LOADING if self.data == "synthetic" else {"image_pipeline": self.data}),
            **self.settings,
            **self.case.training,
        }
        if self.case.student is not None:
            return DistillationArguments(ema_decay=0, **common)
        return TeacherArguments(architecture=self.case.network, image_size=self.case.image_size, **common)

    def student(self, args: RunArguments) -> DeiTLTForImageClassification:
        """Our student with fresh weights, as its training has it."""
        settings = ModelArguments(image_size=self.case.image_size, **self.case.student)
        return build_student(settings, [f"class{c}" for c in range(CLASSES)], self.counts, args)

    def timm_student(self, args: RunArguments) -> nn.Module:
        """timm's distilled ViT of the same sizes and stochastic depth."""
        with torch.device("meta"):
            config = self.student(args).config
        student = timm.create_model(
            "deit_tiny_distilled_patch16_224",
            img_size=config.image_size,
            patch_size=config.patch_size,
            embed_dim=config.hidden_size,
            depth=config.num_hidden_layers,
            num_heads=config.num_attention_heads,
            mlp_ratio=config.intermediate_size / config.hidden_size,
            drop_path_rate=config.drop_path_rate,
            num_classes=CLASSES,
        )
        student.set_distilled_training(True)
        return student

    def network(self) -> nn.Module:
        """The student's teacher, not trained."""
        torch.manual_seed(0)
        return timm.create_model(self.case.network, num_classes=CLASSES)

    def teacher(self) -> Teacher:
        """The same as our student's teacher."""
        return Teacher(self.network(), self.case.image_size, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)

    def classifier(self, args: TeacherArguments) -> nn.Module:
        """The teacher that is trained."""
        return build_classifier(args, CLASSES)
