"""Classify an image with a model folder: `python scripts/classify.py MODEL IMAGE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from transformers import pipeline
from transformers.image_utils import load_image

from trainer.checkpoints import load_student_and_processor
from trainer.errors import DataError


def main(words: list[str]) -> None:
    """Print the five likeliest classes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a folder written by finetune.py")
    parser.add_argument("image", help="an image file, or the address of one")
    args = parser.parse_args(words)
    model, processor = load_student_and_processor(args.model)
    if "://" not in args.image and not Path(args.image).is_file():
        raise DataError(f"there is no image {args.image}")
    try:
        image = load_image(args.image)
    except Exception as error:  # decoders and networks raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{args.image} cannot be read as an image ({reason})") from error
    for score in pipeline("image-classification", model=model, image_processor=processor)(image):
        print(f"{score['score']:7.1%}  {score['label']}")
