"""Train a student with and without its parts: `python scripts/compare.py --help`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("compare")
