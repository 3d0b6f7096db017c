"""One finished run that several tests look at."""

import pytest
from helpers import command, image_tree, write_recipe


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """One run from a folder of images to a model folder, with a flag over the recipe."""
    folder = tmp_path_factory.mktemp("run")
    recipe = write_recipe(folder, dataset=str(image_tree(folder / "images")))
    done = command("finetune.py", recipe, "--output_dir", "out", "--alpha", "0.25", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done
