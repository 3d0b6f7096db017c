"""The script that counts the memory of a training: against counts by hand."""

import json
import sys

import memory
import pytest
import torch
from torch import nn

from trainer.arguments import ModelArguments

STUDENT = ModelArguments(
    preset="tiny", image_size=8, patch_size=4, hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
    intermediate_size=32,
)  # fmt: skip
CPU = torch.device("cpu")


def test_what_autograd_keeps_is_counted_once():
    """Two linear layers of one input keep it once; the weights were there before."""
    first, second = nn.Linear(4, 8), nn.Linear(4, 8)
    known = [weight.untyped_storage() for layer in (first, second) for weight in layer.parameters()]
    x = torch.randn(5, 4)
    with memory.kept_for_backward(known) as kept:
        first(x), second(x), second(x[:2])
    assert list(kept.values()) == [5 * 4 * 4]
    with memory.kept_for_backward(known) as kept:
        torch.tanh(first(x))
    assert sorted(kept.values()) == [5 * 4 * 4, 5 * 8 * 4]


def test_live_tensors_are_those_that_are_still_there():
    """1,000 floats to start with, then two at a time, whatever has been before."""
    x = torch.ones(1000)
    with memory.LiveTensors() as tensors:
        for _ in range(5):
            x = x + 1
    assert tensors.peak == 2 * 4000
    with memory.LiveTensors() as tensors:
        views = x.view(10, 100)[:, :50]
        views += 1
    assert tensors.peak == 4000  # a view is no memory


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_students_memory_is_a_line(monkeypatch, checkpointing, precision):
    figures = memory.counted(STUDENT, precision, checkpointing, CPU)
    weights = sum(p.nbytes for p in memory.student(STUDENT, False).parameters())
    assert figures["weights_gradients_moments_average"] == pytest.approx(5 * weights / memory.MIB, abs=0.01)
    monkeypatch.setattr(memory.line, "__defaults__", ((7, 12),))
    assert memory.counted(STUDENT, precision, checkpointing, CPU) == figures


def test_checkpointing_keeps_the_input_of_each_layer(monkeypatch):
    """And one layer's tensors while it is computed again; by hand, of 6 tokens of width 16 in float32."""
    unit = 6 * 16 * 4
    monkeypatch.setattr(memory, "mib", int)  # bytes
    figures = {how: memory.counted(STUDENT, "float32", how, CPU) for how in (False, True)}
    difference = figures[False]["kept_per_image"] - figures[True]["kept_per_image"]
    again = figures[True]["recomputed_per_image"]
    # Without it all three layers keep what one computes again, the last one less, which has two tokens' output alone;
    # with it each keeps its input, which is in both counts.
    assert 2 * again < difference < 3 * again
    assert again > 10 * unit


def test_the_script_writes_and_prints(tmp_path, monkeypatch, capsys):
    file = tmp_path / "memory.json"
    monkeypatch.setattr(memory, "STUDENTS", {"small": STUDENT})
    monkeypatch.setattr(memory, "TEACHERS", {"ResNet-8": ("resnet8_cifar", 8)})
    monkeypatch.setattr(sys, "argv", ["memory.py", "--device=cpu", "--students=small", f"--results={file}"])
    memory.main()
    content = json.loads(file.read_text())
    assert content["what"] == "a count of tensors, not a GPU's peak"
    assert len(content["students"]) == 4
    assert [row["precision"] for row in content["teachers"]] == ["float32", "bf16"]
    assert "| small | float32 | no | 0.00 |" in capsys.readouterr().out
