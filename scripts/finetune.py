"""`deit-lt finetune`, for `accelerate launch scripts/finetune.py ...`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("finetune")
