"""Wrong and hostile teachers, model folders and comparisons through the command line."""

import json
import shutil

import pytest
from wrong_input.model_cases import COMPARISONS, MODELS, READERS, TEACHERS
from wrong_input.model_makers import both_files, cnn, own_code

from modeling_deit_lt import DeiTLTForImageClassification

TABLES = (TEACHERS, MODELS, COMPARISONS)
CASES = {name: case for table in TABLES for name, case in table.items()}


@pytest.mark.parametrize("name", CASES)
def test_refused(refused, folder, name):
    refused(*CASES[name])
    assert not (folder / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
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
    import torch

    both_files(folder)
    torch.load(folder / "cnn" / "pytorch_model.bin", weights_only=False)
    assert (folder / "ran").is_dir()


def test_a_good_teachers_folder_is_opened(run, folder):
    cnn(folder)
    status, out, told = run("classify cnn images/train/level1/9.png")
    assert (status, told) == (0, "")
    assert "level1" in out
