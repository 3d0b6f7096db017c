"""`deit-lt flatness`, for `accelerate launch scripts/flatness.py ...`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("flatness")
