"""`python -m trainer.commands NAME ...` runs a command."""

import sys

from trainer.commands.boundary import run

if __name__ == "__main__":
    run(sys.argv.pop(1))
