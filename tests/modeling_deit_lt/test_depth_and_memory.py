"""Stochastic depth, gradient checkpointing and compilation."""

import math

import pytest
import torch
from small_models import TINY, images, tiny_model

from modeling_deit_lt import DeiTLTConfig, DeiTLTModel
from modeling_deit_lt.layers_deit_lt import DeiTLTDropPath

# Stochastic depth


def test_drop_path_rates_grow_linearly():
    layers = DeiTLTModel(DeiTLTConfig(**{**TINY, "num_hidden_layers": 5}, drop_path_rate=0.2)).encoder.layer
    assert [layer.drop_path.rate for layer in layers] == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    (single,) = DeiTLTModel(DeiTLTConfig(**{**TINY, "num_hidden_layers": 1}, drop_path_rate=0.2)).encoder.layer
    assert single.drop_path.rate == 0.0


def test_drop_path_drops_whole_samples_and_keeps_the_expectation():
    torch.manual_seed(0)
    rate, count = 0.3, 20_000
    dropped = DeiTLTDropPath(rate).train()(torch.ones(count, 2, 3))
    assert torch.equal(dropped, dropped[:, :1, :1].expand_as(dropped))
    values = dropped[:, 0, 0]
    torch.testing.assert_close(values.unique(), torch.tensor([0.0, 1 / (1 - rate)]))
    # One draw has the standard deviation sqrt(rate / (1 - rate)); the mean may be off by 5 standard errors.
    assert values.mean().item() == pytest.approx(1.0, abs=5 * math.sqrt(rate / (1 - rate) / count))


def test_evaluation_has_no_stochastic_depth():
    model, plain = tiny_model(drop_path_rate=0.9), tiny_model()
    torch.testing.assert_close(model(images()).logits, plain(images()).logits, rtol=0, atol=0)


# Memory and speed


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_gives_equal_gradients(use_reentrant):
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model(drop_path_rate=0.5).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
            assert all(layer.gradient_checkpointing for layer in model.deit.encoder.layer)
        torch.manual_seed(5)
        model(images(), labels=torch.tensor([0, 1, 2, 3])).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=0, atol=0)


def check_compiled(backend):
    torch._dynamo.reset()
    model = tiny_model(fusion_weight=0.25)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    labels = torch.tensor([0, 1, 2, 3])
    for weight in (0.25, 0.75):  # a changed weight must reach compiled code
        model.config.fusion_weight = weight
        expected, output = model(images(), labels=labels), compiled(images(), labels=labels)
        for name in ("loss", "logits", "cls_logits", "distillation_logits"):
            torch.testing.assert_close(output[name], expected[name], rtol=0, atol=1e-5)
        by_hand = weight * output.cls_logits + (1 - weight) * output.distillation_logits
        torch.testing.assert_close(output.logits, by_hand, rtol=0, atol=1e-6)


def test_forward_is_one_graph():
    check_compiled("aot_eager")


@pytest.mark.slow
def test_compiled_forward_equals_eager_mode():
    check_compiled("inductor")


def test_compiled_training_step_is_one_graph():
    torch._dynamo.reset()
    model = tiny_model(drop_path_rate=0.5).train()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(images(), labels=torch.tensor([0, 1, 2, 3])).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
