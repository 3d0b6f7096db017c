"""The same weights give the same outputs in timm's and in transformers' networks."""

import pytest
import torch
from small_models import images, tiny_model
from timm.models.deit import VisionTransformerDistilled
from transformers import DeiTForImageClassificationWithTeacher


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
        "deit.encoder.layer": "blocks",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "attention.output.dense": "attn.proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    state = {}
    for name, value in model.state_dict().items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        state[name] = value
    for name in [name for name in state if "query" in name]:
        parts = [state.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        state[name.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
    twin.load_state_dict(state, strict=True)
    twin.set_distilled_training(True)
    return twin


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


@pytest.mark.parametrize("fields", [{}, {"qkv_bias": False, "hidden_act": "relu", "layer_norm_eps": 0.1}])
@pytest.mark.parametrize("size", [16, 24])
def test_outputs_equal_transformers_deit(fields, size, tmp_path):
    model = tiny_model(**fields, attn_implementation="eager")
    model.save_pretrained(tmp_path)
    twin = DeiTForImageClassificationWithTeacher.from_pretrained(tmp_path, attn_implementation="eager").eval()
    wanted = {"interpolate_pos_encoding": size != 16, "output_hidden_states": True, "output_attentions": True}
    output, expected = model(images(size=size), **wanted), twin(images(size=size), **wanted)
    for name in ("logits", "cls_logits", "distillation_logits", "hidden_states", "attentions"):
        torch.testing.assert_close(output[name], expected[name], rtol=0, atol=1e-5)
