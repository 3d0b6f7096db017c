"""Classify images with a model folder, a student's or a teacher's.

Prints the likeliest classes, of a student by the mean of both experts.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import torch
from PIL import Image, ImageOps

from modeling_deit_lt import is_sixteen_bits, read_channels, unknown_range, wrong_header
from trainer.augmentation import channels_of
from trainer.commands.parser import CommandParser
from trainer.data.rgb import SMALL_PART, as_rgb
from trainer.errors import DataError
from trainer.parsing import make
from trainer.predicting import expert_logits
from trainer.run.model_folder import ModelFolder, open_model
from trainer.settings import check_ranges, setting

logger = logging.getLogger(__name__)

WORDS = {
    "MODEL": "folder of deit-lt finetune or deit-lt train-teacher",
    "IMAGE...": "image files, or addresses of some",
}
ADDRESSES = ("http://", "https://")
SECONDS = 20  # that an address may be silent
LARGEST_FILE = 256 * 2**20  # bytes


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
    for name in names:  # all of them, before the first answer
        check_file(name)
    for name in names:
        found = classify(opened, read_image(name, channels_of(opened.processor)))
        if len(names) > 1:
            print(name)
        for label, share in found[:top]:
            print(f"{share:7.1%}  {label}")


def read_image(name: str, channels: int) -> Image.Image | np.ndarray:
    """An image from a file or an address, as it would be trained on; of an animation the first image.

    Args:
        name: of the file, or its address.
        channels: 3 for RGB, else the array (H, W, channels) is returned.

    Raises:
        DataError: there is none, it cannot be read, or it would be refused in training.
    """
    is_address = name.startswith(ADDRESSES)
    if not is_address:
        check_file(name)
    try:
        content = _fetched(name) if is_address else Path(name).read_bytes()
        if channels != 3:
            return read_channels(content, channels).transpose(1, 2, 0)
        source = io.BytesIO(content)
        with warnings.catch_warnings(action="ignore"), Image.open(source) as image:
            if (wrong := wrong_header(image)) is not None:
                raise DataError(f"{name}: {wrong}")
            ImageOps.exif_transpose(image, in_place=True)
            if (wrong := unknown_range(image)) is not None:
                raise DataError(f"{name}: {wrong}")
            if is_sixteen_bits(image) and (largest := int(np.asarray(image).max())) < SMALL_PART:
                logger.warning("%s: its 16 bits reach %d of 65535, so few grey levels are left", name, largest)
            return as_rgb(image)
    except DataError:
        raise
    except Exception as error:  # decoders and networks raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{name} cannot be read as an image ({reason})") from error


def check_file(name: str) -> None:
    """Refuse what is neither a file nor an address."""
    if os.path.isdir(name):
        raise DataError(f"{name} is a folder; name image files")
    if not name.startswith(ADDRESSES) and not os.path.isfile(name):
        raise DataError(f"there is no image {name}")


def _fetched(address: str) -> bytes:
    with urlopen(address, timeout=SECONDS) as answer:  # of http and https alone
        content = answer.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise DataError(f"{address} is larger than {LARGEST_FILE >> 20} MB; fetch it and make it smaller")
    return content


@torch.no_grad()
def classify(opened: ModelFolder, image: Image.Image | np.ndarray) -> list[tuple[str, float]]:
    """All classes with their probabilities, the likeliest first."""
    output = opened.model(opened.processor(image, return_tensors="pt")["pixel_values"])
    logits, *_ = expert_logits(output).values()
    shares, classes = logits[0].softmax(dim=0).sort(descending=True, stable=True)
    return [(opened.class_names[c], share) for c, share in zip(classes.tolist(), shares.tolist(), strict=True)]
