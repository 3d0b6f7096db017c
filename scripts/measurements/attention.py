"""Measure a student's step with torch's attention (SDPA) over one with matrix products: `python .../attention.py`.

Forward and backward pass of the student alone, in turns, in float32 as it is and in bf16 compiled: time with
`attn_implementation` "sdpa" over that with "eager", medians of nine turns, on a CPU.
Prints Markdown and writes scripts/results/attention_cpu.json.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from modeling_deit_lt import DeiTLTConfig, DeiTLTForImageClassification
from trainer.machine import device_in_words
from trainer.run.files import write_json

RESULTS = Path(__file__).parents[1] / "results"
TURNS, CLASSES = 9, 10
# Image, patch, width, layers, heads, width of the MLPs, batch
STUDENTS = {
    "digits_lt": (16, 4, 64, 4, 4, 256, 64),
    "cifar10_lt_cpu": (32, 4, 96, 4, 3, 192, 64),
    "6 x 192, 32 px": (32, 4, 192, 6, 3, 768, 64),
    "ViT-Ti, 224 px": (224, 16, 192, 12, 3, 768, 16),
}


def main() -> None:
    """Measure, print, write."""
    rows = []
    for name in STUDENTS:
        row = {"student": name, "float32": ratio(name, compiled=False), "bf16_compiled": ratio(name, compiled=True)}
        rows.append(row)
        print("| " + " | ".join([name, *(text(row[key]) for key in ("float32", "bf16_compiled"))]) + " |", flush=True)
    content = {
        "what": "time with sdpa over time with eager attention, forward and backward pass",
        "device": device_in_words(torch.device("cpu"), 1, "float32 and bf16"),
        "versions": {"torch": torch.__version__},
        "students": rows,
    }
    write_json(RESULTS / "attention_cpu.json", content)


def ratio(name: str, compiled: bool) -> dict[str, float]:
    """Median and extremes of the turns."""
    size, batch = STUDENTS[name][0], STUDENTS[name][-1]
    images, labels = torch.randn(batch, 3, size, size), torch.randint(CLASSES, (batch,))
    steps = [step_of(name, attention, compiled) for attention in ("sdpa", "eager")]
    for step in steps:
        seconds(step, images, labels), seconds(step, images, labels)  # which compile, and warm the caches
    turns = [seconds(steps[0], images, labels) / seconds(steps[1], images, labels) for _ in range(TURNS)]
    return {"median": statistics.median(turns), "min": min(turns), "max": max(turns)}


def step_of(name: str, attention: str, compiled: bool) -> Callable:
    """A step of a student, which takes images and labels."""
    size, patch, width, layers, heads, inner, _ = STUDENTS[name]
    torch.manual_seed(0)
    config = DeiTLTConfig(
        image_size=size,
        patch_size=patch,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        num_labels=CLASSES,
        attn_implementation=attention,
    )
    model = DeiTLTForImageClassification(config).train()
    network = torch.compile(model, dynamic=False) if compiled else model

    def step(images, labels) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=compiled):
            output = network(pixel_values=images)
        losses = [
            F.cross_entropy(logits.float(), labels) for logits in (output.cls_logits, output.distillation_logits)
        ]
        sum(losses).backward()
        model.zero_grad()

    return step


def seconds(step: Callable, images, labels) -> float:
    """Of a step."""
    begin = time.perf_counter()
    step(images, labels)
    return time.perf_counter() - begin


def text(figures: dict[str, float]) -> str:
    """Of a ratio."""
    return f"{figures['median']:.2f} ({figures['min']:.2f} to {figures['max']:.2f})"


if __name__ == "__main__":
    main()
