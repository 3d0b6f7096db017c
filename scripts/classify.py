"""Classify an image: `python scripts/classify.py --help`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("classify")
