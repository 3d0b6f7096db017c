"""Students as a training has them."""

import pytest
from helpers import arguments

from trainer.arguments import ModelArguments
from trainer.students import build_student

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize(
    ("size", "precision", "given", "taken"),
    [
        ({"image_size": 32, "patch_size": 4}, "float32", "auto", "sdpa"),
        ({"image_size": 32, "patch_size": 4}, "bf16", "auto", "eager"),
        ({"image_size": 256, "patch_size": 16}, "bf16", "auto", "eager"),
        ({"image_size": 272, "patch_size": 16}, "bf16", "auto", "sdpa"),  # longer than what was timed
        ({"image_size": 32, "patch_size": 4}, "bf16", "sdpa", "sdpa"),
        ({"image_size": 32, "patch_size": 4}, "float32", "eager", "eager"),
    ],
)
def test_attention_of_a_training_on_a_cpu(tmp_path, size, precision, given, taken):
    settings = ModelArguments(preset="tiny", attn_implementation=given, **size, **SMALL)
    model = build_student(settings, ["a", "b"], [3, 2], arguments(tmp_path, precision=precision))
    assert model.config._attn_implementation == taken


def test_a_gpu_has_torchs_attention(tmp_path, monkeypatch):
    args = arguments(tmp_path, precision="bf16")
    monkeypatch.setattr(type(args), "device", type("Device", (), {"type": "cuda"})())
    settings = ModelArguments(preset="tiny", image_size=32, patch_size=4, **SMALL)
    assert build_student(settings, ["a", "b"], [3, 2], args).config._attn_implementation == "sdpa"
