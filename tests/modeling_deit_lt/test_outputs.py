"""What the network returns and refuses."""

import math

import pytest
import torch
from small_models import images, tiny_model
from transformers import Trainer, TrainingArguments


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
        ["loss", "logits", "cls_logits", "distillation_logits", "tokens"],
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


def test_attentions_of_another_implementation_are_refused():
    with pytest.raises(ValueError, match="only eager attention has weights"):
        tiny_model(attn_implementation="sdpa")(images(), output_attentions=True)


def test_the_configuration_says_what_is_returned_by_default():
    model = tiny_model(attn_implementation="eager", output_hidden_states=True, output_attentions=True)
    output = model(images())
    assert (len(output.hidden_states), len(output.attentions)) == (4, 3)
    assert model(images(), output_hidden_states=False).hidden_states is None
    model.config.return_dict = False
    assert isinstance(model(images()), tuple)
    assert isinstance(model.deit(images()), tuple)
    assert model(images(), return_dict=True).logits.shape == (4, 5)


def test_tokens_are_what_the_heads_see():
    model = tiny_model()
    output = model(images())
    assert torch.equal(output.tokens, model.deit(images(), tokens_only=True).last_hidden_state)
    assert torch.equal(output.cls_logits, model.cls_classifier(output.tokens[:, 0]))
    assert torch.equal(output.distillation_logits, model.distillation_classifier(output.tokens[:, 1]))
    assert list(output)[-1] == "tokens"


@pytest.mark.parametrize("with_labels", [True, False])
def test_predictions_of_trainer_are_the_logits_alone(with_labels, tmp_path):
    model = tiny_model(attn_implementation="eager", output_hidden_states=True, output_attentions=True)
    rows = [{"pixel_values": image, **({"labels": 1} if with_labels else {})} for image in images()]
    args = TrainingArguments(tmp_path, use_cpu=True, report_to="none", disable_tqdm=True)
    predictions = Trainer(model, args).predict(rows).predictions
    output = model(images())
    expected = (output.logits, output.cls_logits, output.distillation_logits)
    for got, logits in zip(predictions, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(got), logits.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("field", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_is_at_work_in_training_only(field, attn_implementation):
    model = tiny_model(**{field: 0.5}, attn_implementation=attn_implementation)
    evaluated = model(images()).logits
    assert torch.equal(evaluated, tiny_model(attn_implementation=attn_implementation)(images()).logits)
    model.train()
    assert not torch.allclose(model(images()).logits, model(images()).logits, atol=0.01)


def test_eager_attention_equals_sdpa():
    sdpa, eager = tiny_model(attn_implementation="sdpa"), tiny_model(attn_implementation="eager")
    torch.testing.assert_close(sdpa(images()).logits, eager(images()).logits, rtol=0, atol=1e-5)


def test_wrong_image_size_or_channels_are_refused():
    with pytest.raises(ValueError, match=r"^the images have 24 x 24 pixels, the model takes 16 x 16; "):
        tiny_model()(images(size=24))
    with pytest.raises(ValueError, match=r"^the images have 1 channels, the model takes 3$"):
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


def test_images_and_patches_need_not_be_square():
    model = tiny_model(image_size=[16, 8], patch_size=[4, 2])
    batch = images()[..., :8]
    assert model.deit(batch).last_hidden_state.shape == (4, 2 + 4 * 4, 32)
    assert torch.equal(model(batch, interpolate_pos_encoding=True).logits, model(batch).logits)
    assert model.deit(images(), interpolate_pos_encoding=True).last_hidden_state.shape == (4, 2 + 4 * 8, 32)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_patches_that_the_last_layer_leaves_out_change_nothing(attention):
    """Tokens and gradients are those of a last layer that computes all; the bound is float32's rounding of sums."""
    models = [tiny_model(drop_path_rate=0.5, attn_implementation=attention).train() for _ in range(2)]
    assert models[0].deit(images(), tokens_only=True).last_hidden_state.shape[1] == 2
    found = []
    for model, shown in zip(models, (False, True), strict=True):
        torch.manual_seed(0)
        output = model(images(), output_hidden_states=shown)  # which shows all tokens of the last layer
        output.logits.square().sum().backward()
        found.append([output.tokens, *(parameter.grad for parameter in model.parameters())])
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)
