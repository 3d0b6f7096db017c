"""Files written by transformers' own DeiT open here, and files written here open there."""

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModel, DeiTConfig, DeiTForImageClassificationWithTeacher

from modeling_deit_lt import DeiTLTConfig, DeiTLTForImageClassification, DeiTLTModel

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 16,
    "patch_size": 4,
    "num_labels": 5,
}
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def randomise(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


def keys_on_disk(folder):
    with safe_open(folder / "model.safetensors", "pt") as file:
        return set(file.keys())


@pytest.fixture
def deit():
    return randomise(DeiTForImageClassificationWithTeacher(DeiTConfig(**TINY)))


@pytest.fixture
def deit_folder(deit, tmp_path):
    deit.save_pretrained(tmp_path)
    assert "deit.encoder.layer.0.attention.attention.query.weight" in keys_on_disk(tmp_path)
    return tmp_path


def assert_same_outputs(model, other):
    output, expected = model(IMAGES), other(IMAGES)
    for name in ("logits", "cls_logits", "distillation_logits"):
        # Only the mean may round differently; the trunk and the heads do the same operations.
        torch.testing.assert_close(output[name], expected[name], rtol=0, atol=1e-5)


def assert_same_trunk(trunk, other):
    last, expected = trunk.eval()(IMAGES).last_hidden_state, other(IMAGES).last_hidden_state
    torch.testing.assert_close(last, expected, rtol=0, atol=1e-5)


def test_deit_weights_load_whole(deit, deit_folder, tmp_path):
    model, report = DeiTLTForImageClassification.from_pretrained(deit_folder, output_loading_info=True)
    assert not any(report.values()), report
    assert model.config.layer_norm_eps == deit.config.layer_norm_eps
    assert_same_outputs(model.eval(), deit)
    model.save_pretrained(tmp_path / "again")
    again, report = DeiTLTForImageClassification.from_pretrained(tmp_path / "again", output_loading_info=True)
    assert not any(report.values()), report
    assert_same_outputs(again.eval(), deit)


def test_other_labels_replace_both_heads_and_nothing_else(deit, deit_folder):
    torch.manual_seed(0)
    model, report = DeiTLTForImageClassification.from_pretrained(
        deit_folder, num_labels=100, ignore_mismatched_sizes=True, output_loading_info=True
    )
    heads = {f"{head}.{part}" for head in ("cls_classifier", "distillation_classifier") for part in ("weight", "bias")}
    assert {key for key, *_ in report["mismatched_keys"]} == heads
    assert not report["missing_keys"] - heads
    assert not report["unexpected_keys"]
    assert_same_trunk(model.deit, deit.deit)
    for head in (model.cls_classifier, model.distillation_classifier):
        # 3200 draws: a relative standard error of 1 / sqrt(2 * 3200) = 0.0125, of which 5 are allowed.
        assert head.weight.std().item() == pytest.approx(0.02, rel=0.0625)
        assert not head.bias.any()


def test_trunk_loads_from_a_folder_with_heads(deit, deit_folder):
    trunk, report = DeiTLTModel.from_pretrained(deit_folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert all("classifier" in key for key in report["unexpected_keys"])
    assert_same_trunk(trunk, deit.deit)


def test_saves_have_the_published_names_and_open_as_deit(deit, tmp_path):
    deit.save_pretrained(tmp_path / "deit")
    model = randomise(DeiTLTForImageClassification(DeiTLTConfig(**TINY)))
    model.save_pretrained(tmp_path / "ours")
    assert keys_on_disk(tmp_path / "ours") == keys_on_disk(tmp_path / "deit") == set(model.state_dict())
    opened, report = DeiTForImageClassificationWithTeacher.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    assert_same_outputs(model, opened.eval())


def test_a_saved_trunk_loads_into_trunk_and_classifier(tmp_path):
    trunk = randomise(DeiTLTModel(DeiTLTConfig(**TINY)))
    trunk.save_pretrained(tmp_path)
    loaded, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    classifier, report = DeiTLTForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert all("classifier" in key for key in report["missing_keys"])
    assert not report["unexpected_keys"]
    expected = trunk(IMAGES).last_hidden_state
    for model in (loaded, classifier.deit):
        torch.testing.assert_close(model.eval()(IMAGES).last_hidden_state, expected, rtol=0, atol=0)
