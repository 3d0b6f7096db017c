"""The network: initialisation, equations, stochastic depth, and agreement with timm."""

import math

import pytest
import torch
from timm.models.deit import VisionTransformerDistilled

from modeling_deit_lt import NO_WEIGHT_DECAY, PRESETS, DeiTLTConfig, DeiTLTForImageClassification, DeiTLTModel
from modeling_deit_lt.modeling_deit_lt import DeiTLTDropPath

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 16,
    "patch_size": 4,
    "num_labels": 5,
}


def tiny_model(seed=0, **overrides):
    """A model for evaluation with all parameters random: freshly built, biases are 0, norms 1 and attention flat."""
    torch.manual_seed(seed)
    attn_implementation = overrides.pop("attn_implementation", "sdpa")
    config = DeiTLTConfig(**{**TINY, **overrides}, attn_implementation=attn_implementation)
    model = DeiTLTForImageClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def images(count=4, size=16, seed=1, **kwargs):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed), **kwargs)


def timm_twin(model):
    """timm's distilled ViT with the same weights, named by the published table."""
    config = model.config
    twin = VisionTransformerDistilled(
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.hidden_size,
        depth=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        mlp_ratio=config.intermediate_size / config.hidden_size,
        num_classes=config.num_labels,
        drop_path_rate=config.drop_path_rate,
    )
    names = {
        "deit.embeddings.cls_token": "cls_token",
        "deit.embeddings.distillation_token": "dist_token",
        "deit.embeddings.position_embeddings": "pos_embed",
        "deit.embeddings.patch_embeddings.projection": "patch_embed.proj",
        "deit.layernorm.": "norm.",
        "cls_classifier": "head",
        "distillation_classifier": "head_dist",
        "deit.layers": "blocks",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "attention.o_proj": "attn.proj",
    }
    state = {}
    for name, value in model.state_dict().items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        state[name] = value
    for name in [name for name in state if "q_proj" in name]:
        parts = [state.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
        state[name.replace("attention.q_proj", "attn.qkv")] = torch.cat(parts)
    twin.load_state_dict(state, strict=True)
    twin.set_distilled_training(True)
    return twin


# Initialisation


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


def test_presets_are_fields_and_overrides_win():
    for name, fields in PRESETS.items():
        config = DeiTLTConfig.from_preset(name)
        assert {key: getattr(config, key) for key in fields} == fields
        assert config.hidden_size // config.num_attention_heads == 64
    assert DeiTLTConfig.from_preset("tiny", num_hidden_layers=2).num_hidden_layers == 2
    with pytest.raises(ValueError, match="unknown preset 'huge', choose one of tiny, small, base"):
        DeiTLTConfig.from_preset("huge")


def test_no_weight_decay_names_three_parameters():
    names = [name for name, _ in tiny_model().named_parameters() if name.endswith(NO_WEIGHT_DECAY)]
    assert sorted(names) == sorted(f"deit.embeddings.{name}" for name in NO_WEIGHT_DECAY)


# Outputs


@pytest.mark.parametrize("weight", [0.5, 0.25, 0, 1])
def test_logits_are_the_weighted_sum_of_both_experts(weight):
    model = tiny_model(fusion_weight=weight)
    output = model(images())
    assert not torch.allclose(output.cls_logits, output.distillation_logits, atol=0.1)
    torch.testing.assert_close(
        output.logits, weight * output.cls_logits + (1 - weight) * output.distillation_logits, rtol=0, atol=0
    )


def test_loss_is_the_mean_of_both_cross_entropies():
    model = tiny_model()
    labels = [3, 0, 4, 1]
    output = model(images(), labels=torch.tensor(labels))
    by_hand = 0.0
    for logits in (output.cls_logits, output.distillation_logits):
        for row, label in zip(logits.tolist(), labels, strict=True):
            by_hand += (math.log(sum(math.exp(score) for score in row)) - row[label]) / (2 * len(labels))
    assert output.loss.item() == pytest.approx(by_hand, rel=1e-6)
    assert model(images()).loss is None


def test_loss_is_float32_in_a_bfloat16_model():
    output = tiny_model().to(torch.bfloat16)(images(), labels=torch.tensor([0, 1, 2, 3]))
    assert output.logits.dtype == torch.bfloat16
    assert output.loss.dtype == torch.float32


@pytest.mark.parametrize("labels", [torch.tensor([0, 1, 2, 3]), torch.full((4, 5), 0.2)])
def test_labels_leave_the_problem_type_alone(labels):
    model = tiny_model()
    model(images(), labels=labels)
    assert model.config.problem_type == "single_label_classification"


def test_return_dict_false_gives_the_same_values_in_a_tuple():
    model = tiny_model()
    labels = torch.tensor([0, 1, 2, 3])
    expected = model(images(), labels=labels)
    for value, name in zip(
        model(images(), labels=labels, return_dict=False),
        ["loss", "logits", "cls_logits", "distillation_logits"],
        strict=True,
    ):
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_a_row_alone_has_the_logits_it_has_in_the_batch():
    # float64: another kernel for another batch size changes about 1e-15 here, any mixing of rows far more than 1e-12.
    model = tiny_model().double()
    batch = images(dtype=torch.float64)
    together = model(batch).logits
    for index in range(len(batch)):
        torch.testing.assert_close(model(batch[index : index + 1]).logits[0], together[index], rtol=0, atol=1e-12)


def test_hidden_states_end_before_the_final_norm():
    model = tiny_model()
    output = model(images(), output_hidden_states=True)
    last_hidden_state = model.deit(images()).last_hidden_state
    assert [tuple(state.shape) for state in output.hidden_states] == [(4, 2 + 16, 32)] * (3 + 1)
    assert not torch.allclose(output.hidden_states[-1], last_hidden_state, atol=0.1)
    torch.testing.assert_close(model.deit.layernorm(output.hidden_states[-1]), last_hidden_state, rtol=0, atol=0)
    torch.testing.assert_close(output.cls_logits, model.cls_classifier(last_hidden_state[:, 0]), rtol=0, atol=1e-5)


def test_attentions_are_distributions_over_tokens():
    output = tiny_model(attn_implementation="eager")(images(), output_attentions=True)
    assert [tuple(attention.shape) for attention in output.attentions] == [(4, 2, 18, 18)] * 3
    for attention in output.attentions:
        torch.testing.assert_close(attention.sum(-1), torch.ones(4, 2, 18), rtol=0, atol=1e-5)
    assert output.hidden_states is None


def test_eager_attention_equals_sdpa():
    sdpa, eager = tiny_model(attn_implementation="sdpa"), tiny_model(attn_implementation="eager")
    torch.testing.assert_close(sdpa(images()).logits, eager(images()).logits, rtol=0, atol=1e-5)


def test_wrong_image_size_or_channels_are_refused():
    with pytest.raises(ValueError, match=r"Input image size \(24\*24\) doesn't match model \(16\*16\)"):
        tiny_model()(images(size=24))
    with pytest.raises(ValueError, match="Expected 3 but got 1"):
        tiny_model()(images()[:, :1])


def test_interpolated_positions_extend_a_constant_map():
    # A constant map of positions stays constant at any size, so a model built for the larger size is the oracle.
    model, larger = tiny_model(), tiny_model(image_size=24)
    state = model.state_dict()
    positions = state["deit.embeddings.position_embeddings"]
    positions[:, 2:] = positions[:, 2:3].clone()
    more_positions = torch.cat([positions, positions[:, 2:3].expand(-1, 36 - 16, -1)], dim=1)
    larger.load_state_dict({**state, "deit.embeddings.position_embeddings": more_positions})
    batch = images(size=24)
    torch.testing.assert_close(
        model(batch, interpolate_pos_encoding=True).logits, larger(batch).logits, rtol=0, atol=1e-4
    )
    native = images()
    torch.testing.assert_close(
        model(native, interpolate_pos_encoding=True).logits, model(native).logits, rtol=0, atol=0
    )


# Agreement with timm


@pytest.mark.parametrize("embedding_scale", [1.0, 1e-3])
def test_logits_equal_timm(embedding_scale):
    # At 1e-3 the variance inside the first norm is near its epsilon, so a wrong epsilon shows.
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.deit.embeddings.parameters():
            parameter.mul_(embedding_scale)
    cls_logits, distillation_logits = timm_twin(model).train()(images())  # timm gives both heads in training only
    output = model(images())
    torch.testing.assert_close(output.cls_logits, cls_logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.distillation_logits, distillation_logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.logits, timm_twin(model).eval()(images()), rtol=0, atol=1e-5)


def test_stochastic_depth_equals_timm_draw_for_draw():
    model = tiny_model(drop_path_rate=0.6).train()
    twin = timm_twin(model).train()
    torch.manual_seed(3)
    output = model(images(16))
    torch.manual_seed(3)
    cls_logits, distillation_logits = twin(images(16))
    torch.testing.assert_close(output.cls_logits, cls_logits, rtol=0, atol=2e-5)
    torch.testing.assert_close(output.distillation_logits, distillation_logits, rtol=0, atol=2e-5)
    torch.manual_seed(4)
    assert not torch.allclose(model(images(16)).cls_logits, cls_logits, atol=0.1)


# Stochastic depth


def test_drop_path_rates_grow_linearly():
    layers = DeiTLTModel(DeiTLTConfig(**{**TINY, "num_hidden_layers": 5}, drop_path_rate=0.2)).layers
    assert [layer.drop_path.rate for layer in layers] == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    (single,) = DeiTLTModel(DeiTLTConfig(**{**TINY, "num_hidden_layers": 1}, drop_path_rate=0.2)).layers
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
            assert all(layer.gradient_checkpointing for layer in model.deit.layers)
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


# Configuration


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
