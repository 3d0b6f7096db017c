"""One finished run that several tests look at, and commands that end early."""

import sys

import pytest
from helpers import command, image_tree, write_recipe

from trainer.commands import boundary


@pytest.fixture
def refused(monkeypatch, capsys):
    """Exit code and words on standard error of a command that ends early, in this process to save a start."""

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            boundary.run(name)
        return end.value.code, capsys.readouterr().err

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """One run from a folder of images to a model folder, with a flag over the recipe."""
    folder = tmp_path_factory.mktemp("run")
    recipe = write_recipe(folder, dataset=str(image_tree(folder / "images")))
    done = command("finetune", recipe, "--output_dir", "out", "--alpha", "0.25", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done
