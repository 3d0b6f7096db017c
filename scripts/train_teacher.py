"""`deit-lt train-teacher`, for `accelerate launch scripts/train_teacher.py ...`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("train-teacher")
