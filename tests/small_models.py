"""Models of three small layers and images for them, for the tests of the model."""

import torch

from modeling_deit_lt import DeiTLTConfig, DeiTLTForImageClassification

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
