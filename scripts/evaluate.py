"""Test a model folder: `python scripts/evaluate.py --help`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("evaluate")
