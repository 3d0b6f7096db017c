"""A saved folder: with the package, in a process without it, with both, and through the pipeline."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    DeiTImageProcessor,
    pipeline,
)

import modeling_deit_lt
from modeling_deit_lt import DeiTLTConfig, DeiTLTForImageClassification, DeiTLTModel

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 16,
    "patch_size": 4,
}
COUNTS = [50, 10, 2]
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = DeiTLTForImageClassification(DeiTLTConfig(**TINY, class_counts=COUNTS, fusion_weight=0.25)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


# With the package


def test_auto_classes_open_the_folder(model, folder):
    assert type(AutoConfig.from_pretrained(folder)) is DeiTLTConfig
    assert type(AutoModel.from_pretrained(folder)) is DeiTLTModel
    opened, report = AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True)
    assert type(opened) is DeiTLTForImageClassification
    assert not any(report.values()), report
    assert torch.equal(opened.eval()(IMAGES).logits, model(IMAGES).logits)


def test_configuration_survives_training_and_two_saves(model, folder, tmp_path):
    opened = DeiTLTForImageClassification.from_pretrained(folder)
    opened(IMAGES, labels=torch.tensor([0, 2])).loss.backward()
    opened.save_pretrained(tmp_path / "again")
    first, second = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("saved", "again"))
    assert first == second
    assert second["problem_type"] == "single_label_classification"
    assert (second["class_counts"], second["fusion_weight"], second["layer_norm_eps"]) == (COUNTS, 0.25, 1e-6)
    assert set(second["auto_map"]) == {"AutoConfig", "AutoModel", "AutoModelForImageClassification"}


def test_a_saved_auto_map_of_another_place_is_not_kept(folder, tmp_path):
    # Files from the Hub point to their repository; a model fine-tuned from them must point to its own folder.
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {name: f"someone/else--{value}" for name, value in config["auto_map"].items()}
    (folder / "config.json").write_text(json.dumps(config))
    DeiTLTForImageClassification.from_pretrained(folder).save_pretrained(tmp_path / "again")
    assert "someone" not in (tmp_path / "again" / "config.json").read_text()


@pytest.mark.parametrize(
    ("change", "num_labels", "counts"),
    [
        ({}, 3, COUNTS),
        ({"num_labels": 3}, 3, COUNTS),
        ({"num_labels": 7}, 7, None),  # the stored counts are of other classes
        ({"num_labels": 2, "class_counts": [9, 1]}, 2, [9, 1]),
        ({"id2label": {0: "cat", 1: "dog"}, "label2id": {"cat": 0, "dog": 1}}, 2, None),
        ({"id2label": {0: "cat", 1: "dog"}, "label2id": {"cat": 0, "dog": 1}, "class_counts": [9, 1]}, 2, [9, 1]),
        ({"class_counts": None}, 3, None),
    ],
)
def test_new_labels_and_counts_are_one_change(folder, change, num_labels, counts):
    opened = AutoModelForImageClassification.from_pretrained(folder, ignore_mismatched_sizes=True, **change)
    assert (opened.config.num_labels, opened.config.class_counts) == (num_labels, counts)
    assert opened.cls_classifier.out_features == opened.distillation_classifier.out_features == num_labels


def test_new_counts_of_the_wrong_length_are_refused(folder):
    with pytest.raises(Exception, match="class_counts has 2 entries but num_labels is 3"):
        DeiTLTConfig.from_pretrained(folder, class_counts=[9, 1])


def test_package_can_be_reloaded(folder):
    importlib.reload(modeling_deit_lt)
    assert type(AutoModelForImageClassification.from_pretrained(folder)) is DeiTLTForImageClassification


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pipeline_scores_are_the_softmax_of_the_logits(model, folder, mode):
    processor = DeiTImageProcessor(size={"height": 16, "width": 16}, do_center_crop=False)
    processor.save_pretrained(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3) if mode == "RGB" else (20, 20), dtype=np.uint8)
    image = Image.fromarray(pixels)
    scores = {row["label"]: row["score"] for row in pipeline("image-classification", model=str(folder))(image)}
    logits = model(processor(image.convert("RGB"), return_tensors="pt").pixel_values).logits[0]
    for index, score in enumerate(logits.softmax(-1).tolist()):
        assert scores[f"LABEL_{index}"] == pytest.approx(score, abs=1e-5)


# In other processes


# The interpreter with the other set of versions, where both environments of the Makefile are there.
STAMPS = Path(modeling_deit_lt.__file__).parents[1].glob(".venv*/.complete")
OTHERS = [stamp.parent / "bin" / "python" for stamp in STAMPS if not stamp.parent.samefile(sys.prefix)]
PYTHONS = [
    sys.executable,
    pytest.param(*OTHERS[:1] or [None], marks=pytest.mark.skipif(not OTHERS, reason="needs .venv and .venv-oldest")),
]


def run(script, tmp_path, python=sys.executable):
    """Runs a script in a fresh interpreter elsewhere, offline, with its own cache of remote code."""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [python, "-c", script],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# An entry of None makes the import fail, wherever the package lies and however it was installed.
WITHOUT_PACKAGE = """
import sys
sys.modules["modeling_deit_lt"] = sys.modules["trainer"] = None
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification
images = load_file("images.safetensors")["images"]
"""

OPEN_REMOTE = (
    WITHOUT_PACKAGE
    + """
config = AutoConfig.from_pretrained("saved", trust_remote_code=True)
trunk = AutoModel.from_pretrained("saved", trust_remote_code=True).eval()
model = AutoModelForImageClassification.from_pretrained("saved", trust_remote_code=True).eval()
assert type(config).__name__ == "DeiTLTConfig" and type(trunk).__name__ == "DeiTLTModel"
assert type(model).__module__.startswith("transformers_modules.")
deit, report = type(model).from_pretrained("deit", output_loading_info=True)
assert not any(report.values()), report
model.save_pretrained("again")
again = AutoModelForImageClassification.from_pretrained("again", trust_remote_code=True).eval()
outputs = {
    "trunk": trunk(images).last_hidden_state,
    "logits": model(images).logits,
    "again": again(images).logits,
    "deit": deit.eval()(images).logits,
}
save_file({name: value.detach() for name, value in outputs.items()}, "outputs.safetensors")
"""
)


@pytest.mark.parametrize("python", PYTHONS, ids=["these versions", "the other versions"])
def test_folder_opens_in_a_process_without_the_package(model, folder, tmp_path, python):
    deit = DeiTForImageClassificationWithTeacher(DeiTConfig(**TINY, num_labels=3)).eval()
    with torch.no_grad():
        for parameter in deit.parameters():
            parameter.normal_(std=0.3)
    deit.save_pretrained(tmp_path / "deit")
    save_file({"images": IMAGES}, tmp_path / "images.safetensors")
    result = run(OPEN_REMOTE, tmp_path, python)
    assert result.returncode == 0, result.stderr
    outputs = load_file(tmp_path / "outputs.safetensors")
    expected = {
        "trunk": model.deit(IMAGES).last_hidden_state,
        "logits": model(IMAGES).logits,
        "again": model(IMAGES).logits,
        "deit": deit(IMAGES).logits,
    }
    for name, value in expected.items():
        # The other process may use another number of threads, so sums may round differently.
        torch.testing.assert_close(outputs[name], value, rtol=0, atol=1e-5)
    # The second save, made without the package, is the first: one that opens here too.
    assert {path.name for path in (tmp_path / "again").iterdir()} == {path.name for path in folder.iterdir()}
    again, report = AutoModelForImageClassification.from_pretrained(tmp_path / "again", output_loading_info=True)
    assert type(again) is DeiTLTForImageClassification
    assert not any(report.values()), report
    assert torch.equal(again.eval()(IMAGES).logits, model(IMAGES).logits)


def test_without_consent_the_error_names_the_argument(folder, tmp_path):
    save_file({"images": IMAGES}, tmp_path / "images.safetensors")
    result = run(WITHOUT_PACKAGE + 'AutoModelForImageClassification.from_pretrained("saved")', tmp_path)
    assert result.returncode == 1
    error = result.stderr.strip().splitlines()[-1]
    assert "trust_remote_code=True" in result.stderr
    assert "saved" in result.stderr
    assert "Unrecognized" not in error


BOTH_COPIES = """
import sys
import torch
from transformers import AutoModelForImageClassification
from transformers.dynamic_module_utils import get_class_from_dynamic_module

def import_package():
    import modeling_deit_lt
    return modeling_deit_lt.DeiTLTForImageClassification

def import_copy():
    return get_class_from_dynamic_module("modeling_deit_lt.DeiTLTForImageClassification", "saved")

order = [import_package, import_copy] if sys.argv[-1] == "package" else [import_copy, import_package]
classes = [load() for load in order]
assert classes[0] is not classes[1]
images = torch.ones(2, 3, 16, 16)
logits = [cls.from_pretrained("saved").eval()(images).logits for cls in classes]
assert torch.equal(*logits)
for trust in (False, True):  # with the package imported its own class is used, whether or not the copy is trusted
    model = AutoModelForImageClassification.from_pretrained("saved", trust_remote_code=trust)
    assert type(model).__module__ == "modeling_deit_lt.modeling_deit_lt", type(model)
"""


@pytest.mark.slow
@pytest.mark.parametrize("first", ["package", "copy"])
def test_package_and_copy_live_in_one_process(folder, tmp_path, first):
    root = os.path.dirname(os.path.dirname(modeling_deit_lt.__file__))
    result = run(f"import sys\nsys.path.insert(0, {root!r})\nsys.argv.append({first!r})\n" + BOTH_COPIES, tmp_path)
    assert result.returncode == 0, result.stderr
