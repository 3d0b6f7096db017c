"""`deit-lt classify`, for `accelerate launch scripts/classify.py ...`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("classify")
