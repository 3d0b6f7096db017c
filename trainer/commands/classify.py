"""Classify images with a model folder, a student's or a teacher's.

Prints the likeliest classes, of a student by the mean of both experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL.Image import Image
from transformers.image_utils import load_image

from trainer.commands.parser import CommandParser
from trainer.errors import DataError
from trainer.parsing import make
from trainer.predicting import expert_logits
from trainer.run.model_folder import ModelFolder, open_model
from trainer.settings import check_ranges, setting

WORDS = {
    "MODEL": "folder of deit-lt finetune or deit-lt train-teacher",
    "IMAGE...": "image files, or addresses of some",
}


@dataclass
class ClassificationArguments:
    """What is printed."""

    _argument_group_name = "Classification"

    top: int = setting(5, "Classes to print, at most.")

    def __post_init__(self):
        check_ranges(self, {"top": "[1, inf)"})


def main(words: list[str]) -> None:
    """Print the likeliest classes of each image, below its name where there are several."""
    folder, names, given = CommandParser("classify", __doc__, ClassificationArguments, words=WORDS).parse(words)
    top = make(ClassificationArguments, given).top
    opened = open_model(folder)
    for name in names:
        found = classify(opened, read_image(name))
        if len(names) > 1:
            print(name)
        for label, share in found[:top]:
            print(f"{share:7.1%}  {label}")


def read_image(name: str) -> Image:
    """An image from a file or an address.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    if "://" not in name and not Path(name).is_file():
        raise DataError(f"there is no image {name}")
    try:
        return load_image(name)
    except Exception as error:  # decoders and networks raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{name} cannot be read as an image ({reason})") from error


@torch.no_grad()
def classify(opened: ModelFolder, image: Image) -> list[tuple[str, float]]:
    """All classes with their probabilities, the likeliest first."""
    output = opened.model(opened.processor(image, return_tensors="pt")["pixel_values"])
    logits, *_ = expert_logits(output).values()
    shares, classes = logits[0].softmax(dim=0).sort(descending=True, stable=True)
    return [(opened.class_names[c], share) for c, share in zip(classes.tolist(), shares.tolist(), strict=True)]
