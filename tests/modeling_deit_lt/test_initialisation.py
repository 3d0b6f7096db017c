"""The network before its first step: what is drawn from where, and which parameters carry no weight decay."""

import math

import pytest
import torch
from small_models import TINY, images, tiny_model

from modeling_deit_lt import NO_WEIGHT_DECAY, DeiTLTConfig, DeiTLTForImageClassification, DeiTLTModel


def test_cls_and_dist_outputs_differ_at_initialisation():
    torch.manual_seed(0)
    tokens = DeiTLTModel(DeiTLTConfig(**TINY)).eval()(images()).last_hidden_state
    # Two independent vectors of unit variance per channel: their mean squared difference is near 2, not near 0.
    assert (tokens[:, 0] - tokens[:, 1]).square().mean() > 0.5


def test_tokens_positions_and_linears_have_std_002():
    torch.manual_seed(0)
    model = DeiTLTForImageClassification(DeiTLTConfig(**{**TINY, "hidden_size": 256, "num_labels": 40}))
    for name, parameter in model.named_parameters():
        if name.endswith("cls_token"):  # almost zero, as in the official code
            assert 0 < parameter.std().item() == pytest.approx(1e-6, rel=5 / math.sqrt(2 * parameter.numel()))
        elif name.endswith(NO_WEIGHT_DECAY) or (name.endswith("weight") and parameter.ndim == 2):
            # The sample std of n normal draws has a relative standard error of 1 / sqrt(2 n); 5 of them are allowed.
            assert parameter.std().item() == pytest.approx(0.02, rel=5 / math.sqrt(2 * parameter.numel())), name
        elif name.endswith("bias") and "projection" not in name:
            assert not parameter.any(), name


def test_initializer_range_is_obeyed():
    torch.manual_seed(0)
    embeddings = DeiTLTModel(DeiTLTConfig(**TINY, initializer_range=0.1)).embeddings
    count = embeddings.position_embeddings.numel()
    assert embeddings.position_embeddings.std().item() == pytest.approx(0.1, rel=5 / math.sqrt(2 * count))


def test_patch_projection_starts_as_a_plain_convolution():
    torch.manual_seed(0)
    projection = DeiTLTModel(DeiTLTConfig(**{**TINY, "hidden_size": 256})).embeddings.patch_embeddings.projection
    bound = 1 / math.sqrt(3 * 4 * 4)  # PyTorch draws weights and biases from U(-bound, bound)
    for parameter in (projection.weight, projection.bias):
        assert parameter.abs().max() <= bound
        assert parameter.std().item() == pytest.approx(bound / math.sqrt(3), rel=5 / math.sqrt(2 * parameter.numel()))


def test_base_preset_has_the_published_parameter_count():
    with torch.device("meta"):
        model = DeiTLTForImageClassification(DeiTLTConfig.from_preset("base", num_labels=10))
    assert sum(parameter.numel() for parameter in model.parameters()) == 85_815_572


def test_no_weight_decay_names_three_parameters():
    names = [name for name, _ in tiny_model().named_parameters() if name.endswith(NO_WEIGHT_DECAY)]
    assert sorted(names) == sorted(f"deit.embeddings.{name}" for name in NO_WEIGHT_DECAY)
