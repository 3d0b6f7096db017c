"""The recipes that come with the package, a line each; with a name the text of one, to copy and change.

The last ones are configurations of `accelerate launch`, for several GPUs or machines.
"""

from __future__ import annotations

import textwrap

from trainer.commands.parser import CommandParser
from trainer.recipe_files import find_recipe, shipped_recipes, summary_of

HEADINGS = {
    "students": "deit-lt finetune RECIPE",
    "teachers": "deit-lt train-teacher RECIPE",
    "accelerate": "accelerate launch --config_file mine.yaml -m trainer.commands finetune RECIPE",
}


def main(words: list[str]) -> None:
    """Print them."""
    parser = CommandParser("recipes", __doc__, words={"[RECIPE]": "whose text to print (default: list all)"})
    name, _ = parser.parse(words)
    print(listing() if name is None else find_recipe(name, *HEADINGS).read_text(), end="")


def listing() -> str:
    """All recipes with what each is for."""
    lines = []
    for kind, heading in HEADINGS.items():
        lines.append(heading)
        for stem, path in shipped_recipes(kind).items():
            lines.append(textwrap.fill(summary_of(path), 80, initial_indent=f"  {stem}: ", subsequent_indent="    "))
        lines.append("")
    return "\n".join([*lines, "`deit-lt recipes NAME > mine.yaml` copies one, to be changed.", ""])
