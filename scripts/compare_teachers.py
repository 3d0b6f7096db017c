"""Train several teachers and compare them: `python scripts/compare_teachers.py --help`."""

from trainer.commands.boundary import run

if __name__ == "__main__":
    run("compare_teachers")
