"""Measure how flat teachers' minima are: `python scripts/flatness.py --help`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("flatness")
