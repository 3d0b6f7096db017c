"""`deit-lt evaluate-teacher`, for `accelerate launch scripts/evaluate_teacher.py ...`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("evaluate-teacher")
