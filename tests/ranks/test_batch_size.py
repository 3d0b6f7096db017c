"""auto_find_batch_size on two ranks of which one has less memory: both take what it holds."""

import json

import pytest
from helpers import image_tree, write_recipe
from ranks.launching import launch

from trainer.recipe_files import shipped_recipes

WORKER = """
import os
import torch
from modeling_deit_lt import DeiTLTForImageClassification
from trainer.run import run_student, student_recipe

forward, holds = DeiTLTForImageClassification.forward, (8, 3)[int(os.environ["RANK"])]

def limited(model, pixel_values=None, **kwargs):
    if model.training and len(pixel_values) > holds:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return forward(model, pixel_values, **kwargs)

DeiTLTForImageClassification.forward = limited
run_student(student_recipe("recipe.yaml", {"output_dir": "out"}))
"""


@pytest.mark.slow
def test_both_ranks_take_what_the_smaller_holds(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    settings = {"teacher": "none", "per_device_train_batch_size": 8, "auto_find_batch_size": True}
    write_recipe(tmp_path, dataset=str(image_tree(tmp_path / "images")), **settings)
    done = launch("--config_file", shipped_recipes("accelerate")["cpu"], "worker.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    metrics, begun = (json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("metrics", "settings"))
    assert (metrics["per_device_train_batch_size"], metrics["gradient_accumulation_steps"]) == (2, 4)
    assert begun["found"] == {"train_batch_size of all ranks": 4, "gradient_accumulation_steps": 4}
    assert "batch 2 x 4 accumulated x 2 rank(s) = 16" in " ".join(done.stdout.split())
