"""Measure what a student's teacher knows: `python scripts/evaluate_teacher.py --help`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("evaluate_teacher")
