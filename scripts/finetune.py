"""Train a student, and its teacher if asked: `python scripts/finetune.py --help`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("finetune")
