"""Entry point of `deit-lt COMMAND ...`: finds the command, which reads the rest of the command line."""

from __future__ import annotations

import sys
from importlib.metadata import version

from trainer.commands.boundary import end, run

COMMANDS = {
    "finetune": "train a student, and its teacher if asked: from images to a report and a model folder",
    "train-teacher": "train a teacher alone",
    "evaluate": "the report of a model folder, a student's or a teacher's, on a test split",
    "classify": "the likeliest classes of images",
    "evaluate-teacher": "what a student's teacher knows of the images that it will be shown",
    "flatness": "how far the loss of teachers rises where their weights are perturbed",
    "compare": "a student with and without its teacher and DRW, over seeds",
    "compare-teachers": "teachers beside each other, over seeds or the values of a setting",
    "check-data": "the figures of a data set, its files and images, before anything is trained",
    "to-parquet": "write a data set as parquet files",
    "benchmark": "how fast a training step is, beside timm's",
    "recipes": "the recipes that come with the package; or the text of one, to copy",
}


def main() -> None:
    """Read the command's name and run it."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help", "help"):
        print(usage())
    elif name == "--version":
        print(f"deit-lt {version('deit-lt')}")
    elif (known := name.replace("_", "-")) in COMMANDS:
        run(known, sys.argv[2:])
    else:
        from trainer.commands.parser import closest

        end(f"error: there is no command {name}{closest(name, list(COMMANDS))}", 2)


def usage() -> str:
    """The commands with a line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: deit-lt COMMAND ... [--flag value ...]",
            "",
            *lines,
            "",
            "`deit-lt COMMAND --help` lists what it takes. First try: deit-lt finetune digits_lt",
        ]
    )


if __name__ == "__main__":
    main()
