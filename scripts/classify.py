"""Classify an image with a model folder: `python scripts/classify.py MODEL IMAGE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from command_line import run
from transformers import pipeline

import modeling_deit_lt  # noqa: F401  (registers the model, so that no remote code is needed)
from trainer.errors import CheckpointError, DataError


def main(arguments: list[str]) -> None:
    """Print the five likeliest classes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a folder written by finetune.py")
    parser.add_argument("image", help="an image file")
    args = parser.parse_args(arguments)
    if not Path(args.model, "config.json").is_file():
        raise CheckpointError(f"{args.model} is not a model folder: it has no config.json")
    classifier = pipeline("image-classification", model=args.model)
    try:
        scores = classifier(args.image)
    except (OSError, ValueError) as error:
        raise DataError(f"{args.image} cannot be read as an image ({str(error).splitlines()[0]})") from error
    for score in scores:
        print(f"{score['score']:7.1%}  {score['label']}")


if __name__ == "__main__":
    run(main)
