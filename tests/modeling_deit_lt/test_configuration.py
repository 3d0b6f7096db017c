"""The configuration: sizes by name, wrong fields, labels and counts."""

import pytest
from small_models import TINY
from transformers import DeiTConfig

from modeling_deit_lt import PRESETS, DeiTLTConfig, DeiTLTForImageClassification


def test_presets_are_fields_and_overrides_win():
    for name, fields in PRESETS.items():
        config = DeiTLTConfig.from_preset(name)
        assert {key: getattr(config, key) for key in fields} == fields
        assert config.hidden_size // config.num_attention_heads == 64
    assert DeiTLTConfig.from_preset("tiny", num_hidden_layers=2).num_hidden_layers == 2
    with pytest.raises(ValueError, match="unknown preset 'huge', choose one of tiny, small, base"):
        DeiTLTConfig.from_preset("huge")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": 18}, "image_size 18 is not a positive multiple of patch_size 4"),
        ({"image_size": [16, 18]}, "image_size 18 is not a positive multiple of patch_size 4"),
        ({"image_size": 0}, "image_size 0 is not a positive multiple of patch_size 4"),
        ({"patch_size": 0}, "image_size 16 is not a positive multiple of patch_size 0"),
        ({"fusion_weight": 1.1}, r"fusion_weight must be in \[0, 1\], got 1.1"),
        ({"fusion_weight": -0.1}, r"fusion_weight must be in \[0, 1\], got -0.1"),
        ({"drop_path_rate": 1.0}, r"drop_path_rate must be in \[0, 1\), got 1.0"),
        ({"drop_path_rate": -0.1}, r"drop_path_rate must be in \[0, 1\), got -0.1"),
        ({"class_counts": [3, 2]}, "class_counts has 2 entries but num_labels is 5"),
        ({"problem_type": "regression"}, "problem_type must be single_label_classification, got regression"),
        (
            {"problem_type": "multi_label_classification"},
            "problem_type must be single_label_class",
        ),
        ({"class_counts": "many"}, "class_counts"),
        ({"drop_path_rate": "0.1"}, "drop_path_rate"),
    ],
)
def test_wrong_fields_are_refused(fields, message):
    with pytest.raises(Exception, match=message) as error:
        DeiTLTConfig(**{**TINY, **fields})
    assert type(error.value).__name__.startswith("StrictDataclass")


def test_class_counts_alone_give_the_number_of_labels():
    assert DeiTLTConfig(class_counts=[5, 3, 1]).num_labels == 3
    assert DeiTLTConfig(class_counts=[5, 3], id2label={0: "cat", 1: "dog"}).id2label == {0: "cat", 1: "dog"}


def test_labels_set_after_the_counts_are_checked_when_a_model_is_built():
    config = DeiTLTConfig(**{**TINY, "num_labels": 3}, class_counts=[5, 3, 1])
    config.num_labels = 4
    with pytest.raises(Exception, match="class_counts has 3 entries but num_labels is 4"):
        DeiTLTForImageClassification(config)


def test_a_whole_configuration_of_deit_is_accepted():
    config = DeiTLTConfig(**DeiTConfig(**TINY).to_dict())
    assert (config.hidden_size, config.problem_type) == (32, "single_label_classification")
