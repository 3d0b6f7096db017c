"""What a model says to images with labels: no trainer, no training settings, nothing written."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from trainer.errors import RunError, SettingError
from trainer.machine import PRECISIONS


@torch.no_grad()
def predict(
    model: nn.Module, images: TorchDataset, batch_size: int = 64, use_cpu: bool = False, precision: str = "float32"
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A model's logits of every image, in row order; under `accelerate launch` the ranks share the images.

    Args:
        model: a DeiT-LT student, or any classifier of `pixel_values`; it is left on the device, in evaluation mode.
        images: rows with `pixel_values` and `labels`, such as `EvaluationImages`.
        batch_size: images per rank at a time. Default 64.
        use_cpu: leave accelerators alone. Default False.
        precision: of the computation, by autocast: "float32" (default), "bf16" or "fp16".

    Returns:
        {expert: (N, C) float32 logits}, on every rank those of all, as `expert_logits` names them; (N,) labels.

    Raises:
        SettingError: an unknown precision, or one that the device does not have.
        RunError: a logit is not finite.
    """
    accelerator = _accelerator(use_cpu, precision)
    model = model.to(accelerator.device).eval()
    batches = accelerator.prepare(DataLoader(images, batch_size))
    logits, labels = [], []
    for batch in batches:
        with accelerator.autocast():
            output = model(batch["pixel_values"])
        # Ranks get equally many rows, some of them twice if need be; gathering for metrics drops the second ones.
        rows, classes = accelerator.gather_for_metrics((expert_logits(output), batch["labels"]))
        logits.append({expert: tensor.cpu() for expert, tensor in rows.items()})
        labels.append(classes.cpu())
    result = {expert: torch.cat([rows[expert] for rows in logits]) for expert in logits[0]}
    for expert, tensor in result.items():
        broken = (~tensor.isfinite().all(dim=1)).nonzero()
        if len(broken):
            advice = "check its weights" if precision == "float32" else "take precision float32, or check its weights"
            raise RunError(f"the model's logits ({expert}) of image {int(broken[0])} are not finite; {advice}")
    return {expert: tensor.numpy() for expert, tensor in result.items()}, torch.cat(labels).numpy()


def expert_logits(output) -> dict[str, Tensor]:
    """The logits of each expert of a model's output, in float32; the first are the model's answer.

    Args:
        output: of a DeiT-LT student, whose experts are "mean", "cls" and "dist"; of any other classifier, logits or
            an output with `.logits`, whose one expert is "teacher".
    """
    if isinstance(output, Tensor):
        experts = {"teacher": output}
    elif "distillation_logits" in output:
        experts = {"mean": output.logits, "cls": output.cls_logits, "dist": output.distillation_logits}
    else:
        experts = {"teacher": output.logits}
    return {expert: logits.float() for expert, logits in experts.items()}


def _accelerator(use_cpu: bool, precision: str) -> Accelerator:
    if precision not in PRECISIONS:
        raise SettingError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision}")
    # Accelerate keeps one device and one precision per process: those of a training before this.
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        return Accelerator(cpu=use_cpu, mixed_precision=PRECISIONS[precision])
    except ValueError as error:
        raise SettingError(f"precision {precision}: {error}; take float32") from error
