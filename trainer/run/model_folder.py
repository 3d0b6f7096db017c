"""A model as it lies in its folder, a student's or a teacher's: the one way to open what is tested or used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import nn
from transformers import BaseImageProcessor

from modeling_deit_lt import DeiTLTForImageClassification
from trainer.checkpoints import check_weights, holds_student, load_processor, load_student
from trainer.errors import CheckpointError
from trainer.run.files import read_json
from trainer.run.folder import METRICS
from trainer.students import class_names_of
from trainer.teachers import open_classifier


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
        return counts


def open_model(folder: str | Path) -> ModelFolder:
    """Open the folder of a student, of a teacher, of timm or of a Hugging Face image classifier.

    Raises:
        CheckpointError, TeacherError: it is no model folder, its weights are incomplete, foreign, unreadable or not
            finite, or there is no image processor.
    """
    if holds_student(folder):
        model = load_student(folder)
        names = class_names_of(model)
    else:
        found = open_classifier(str(folder))
        model, names = found.model, found.class_names or [f"LABEL_{index}" for index in range(found.num_classes)]
        check_weights(folder, model)
    return ModelFolder(Path(folder), model.eval(), load_processor(folder), names)
