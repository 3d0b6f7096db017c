"""A model as it lies in its folder, a student's or a teacher's: the one way to open what is tested or used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import BaseImageProcessor

from modeling_deit_lt import DeiTLTForImageClassification
from trainer.arguments import DataArguments
from trainer.augmentation import channels_of
from trainer.checkpoints import holds_student, load_processor, load_student
from trainer.errors import CheckpointError, DeiTLTError
from trainer.parsing import in_one_line, make, shown
from trainer.predicting import expert_logits
from trainer.run.files import read_json
from trainer.run.folder import METRICS
from trainer.teachers import open_classifier

SPLIT = ("test_fraction", "split_seed", "class_from")


@dataclass(frozen=True)
class ModelFolder:
    """A trained model with what belongs to it.

    Attributes:
        path: of the folder.
        model: `pixel_values` to logits, or to an output with `.logits`; in evaluation mode.
        processor: of the images that it was tested on.
        class_names: (C,) of its outputs.
    """

    path: Path
    model: nn.Module
    processor: BaseImageProcessor
    class_names: list[str]

    @cached_property
    def run(self) -> dict:
        """What its run left in metrics.json; nothing where there is none.

        Raises:
            CheckpointError: it cannot be read.
        """
        file = self.path / METRICS
        return read_json(file) if file.is_file() else {}

    @property
    def data_settings(self) -> DataArguments:
        """How its run cut its data, as far as metrics.json says; else the defaults.

        Raises:
            CheckpointError: metrics.json says what cannot be.
        """
        told = self.run.get("data", {})
        if not isinstance(told, dict):
            raise CheckpointError(f"{self.path / METRICS} is damaged (data: {shown(told)}); remove or restore it")
        boundaries = {"group_boundaries": self.run.get("group_boundaries") or []}
        try:
            return make(DataArguments, {**{name: told[name] for name in SPLIT if name in told}, **boundaries})
        except (DeiTLTError, TypeError) as error:
            raise CheckpointError(f"{self.path / METRICS} is damaged ({error}); remove or restore it") from error

    @property
    def class_counts(self) -> list[int]:
        """(C,) training images per class.

        Raises:
            CheckpointError: the folder does not say.
        """
        is_student = isinstance(self.model, DeiTLTForImageClassification)
        counts = self.model.config.class_counts if is_student else self.run.get("class_counts")
        if counts is None:
            raise CheckpointError(
                f"{self.path} does not say how many training images each class had, which head, mid and tail need; "
                "give a folder of deit-lt finetune or deit-lt train-teacher"
            )
        if not (isinstance(counts, list) and all(type(count) is int and count > 0 for count in counts)):
            raise CheckpointError(f"{self.path} has class counts that are none; name another folder, or restore it")
        if len(counts) != len(self.class_names):
            raise CheckpointError(
                f"{self.path} has counts of {len(counts)} classes and {len(self.class_names)} outputs; name another "
                "folder, or restore it"
            )
        return counts


def open_model(folder: str | Path) -> ModelFolder:
    """Open the folder of a student, of a teacher, of timm or of a Hugging Face image classifier.

    Raises:
        CheckpointError, TeacherError: it is no model folder, its weights are incomplete, foreign, unreadable or not
            finite, or there is no image processor.
    """
    if holds_student(folder):
        model = load_student(folder)
        names = [model.config.id2label.get(index) for index in range(model.config.num_labels)]
        if not all(isinstance(name, str) for name in names):
            raise CheckpointError(f"{folder} does not name each of its classes; restore its config.json")
    else:
        found = open_classifier(str(folder))
        model, names = found.model, found.class_names or [f"LABEL_{index}" for index in range(found.num_classes)]
    opened = ModelFolder(Path(folder), model.eval(), load_processor(folder), names)
    _look_at_nothing(opened)
    return opened


@torch.no_grad()
def _look_at_nothing(opened: ModelFolder) -> None:
    """Refuse a processor whose images the model does not take."""
    try:
        blank = np.zeros((64, 64, channels_of(opened.processor)), np.uint8)
        pixels = opened.processor(blank, return_tensors="pt")["pixel_values"]
        logits, *_ = expert_logits(opened.model(pixels)).values()
        if logits.shape != (1, len(opened.class_names)):
            raise ValueError(f"{len(opened.class_names)} names, outputs {tuple(logits.shape)}")
    except Exception as error:  # a library's own way to say that its settings are damaged
        raise CheckpointError(
            f"{opened.path}: its model and its image processor do not fit each other ({in_one_line(error)})"
        ) from error
