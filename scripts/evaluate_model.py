"""`deit-lt evaluate`, for `accelerate launch scripts/evaluate_model.py ...`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("evaluate")
