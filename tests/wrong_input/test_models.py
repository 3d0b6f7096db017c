"""Wrong and hostile teachers, model folders and comparisons through the command line."""

import json
import re
import shutil
from pathlib import Path

import pytest
import timm
import torch
from wrong_input.model_cases import COMPARISONS, MODELS, READERS, TEACHERS
from wrong_input.model_makers import both_files, cnn, own_code

from modeling_deit_lt import DeiTLTForImageClassification
from trainer.teachers import open_classifier

ROOT = Path(__file__).parents[2]

TABLES = (TEACHERS, MODELS, COMPARISONS)
CASES = {name: case for table in TABLES for name, case in table.items()}


@pytest.mark.parametrize("name", CASES)
def test_refused(refused, folder, name):
    refused(*CASES[name])
    assert not (folder / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES)[::4])  # a process takes seconds to start
def test_refused_by_a_process(refused_by_process, folder, name):
    refused_by_process(*CASES[name])
    assert not (folder / "ran").exists()


def test_no_case_has_the_name_of_another():
    assert sum(map(len, TABLES)) == len(CASES)


@pytest.mark.parametrize("words", [*READERS.values(), READERS["classify"].replace("model", "cnn")])
def test_a_pickle_beside_good_weights_is_not_read(run, folder, words):
    both_files(folder)
    status, out, told = run(words)
    assert (status, told) == (0, "")
    assert "level1" in out or "mean" in out
    assert not (folder / "ran").exists()


def test_a_students_folder_with_its_code_loads_and_runs_none_of_it(run, folder):
    """What `save_pretrained` copies beside the weights is for processes without the package."""
    DeiTLTForImageClassification.register_for_auto_class("AutoModelForImageClassification")
    model = DeiTLTForImageClassification.from_pretrained(folder / "model")
    shutil.rmtree(folder / "copy", ignore_errors=True)
    model.save_pretrained(folder / "copy")
    shutil.copy(folder / "model" / "preprocessor_config.json", folder / "copy")
    assert "auto_map" in json.loads((folder / "copy" / "config.json").read_text())
    for file in folder.glob("copy/*.py"):
        file.write_text("import os\nos.mkdir('ran')\n")
    status, out, told = run("classify copy images/train/level1/9.png")
    assert (status, told) == (0, "")
    assert "level1" in out
    assert not (folder / "ran").exists()


def test_the_code_of_a_folder_would_run_if_it_were_trusted(folder):
    """So that the cases above can fail."""
    from transformers import AutoConfig

    own_code(folder)
    with pytest.raises(Exception, match="mine"):
        AutoConfig.from_pretrained(folder / "cnn", trust_remote_code=True)
    assert (folder / "ran").is_dir()


def test_the_pickles_would_run_if_they_were_read(folder):
    """So that the cases above can fail."""
    both_files(folder)
    torch.load(folder / "cnn" / "pytorch_model.bin", weights_only=False)
    assert (folder / "ran").is_dir()


def test_a_published_file_becomes_a_folder_as_the_docs_say(folder):
    """A file in the layout of the official code's teachers, through the lines of docs/teachers.md."""
    network = timm.create_model("resnet32_cifar", num_classes=10)
    state = {f"module.{name}": weight for name, weight in network.state_dict().items()}
    told = {"epoch": 200, "arch": "resnet32", "state_dict": state, "best_acc1": torch.tensor(81.9), "optimizer": {}}
    torch.save(told, "ckpt.best.pth.tar")
    (lines,) = re.findall(r"```python\n([^`]*torch\.load[^`]*)```", (ROOT / "docs" / "teachers.md").read_text())
    exec(lines, {})
    found = open_classifier("runs/teachers/published")
    assert (found.class_names[6], found.image_size) == ("frog", 32)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(found.model.eval()(images), network.eval()(images))


def test_a_good_teachers_folder_is_opened(run, folder):
    cnn(folder)
    status, out, told = run("classify cnn images/train/level1/9.png")
    assert (status, told) == (0, "")
    assert "level1" in out
