"""`deit-lt compare-teachers`, for `accelerate launch scripts/compare_teachers.py ...`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("compare-teachers")
