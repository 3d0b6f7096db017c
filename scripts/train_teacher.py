"""Train a teacher: `python scripts/train_teacher.py --help`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("train_teacher")
