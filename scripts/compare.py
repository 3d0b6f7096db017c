"""`deit-lt compare`, for `accelerate launch scripts/compare.py ...`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("compare")
