"""What a model says to images with labels: no trainer, no training settings, nothing written."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from transformers.trainer_pt_utils import EvalLoopContainer

from trainer.errors import RunError, SettingError
from trainer.evaluation import Predictions
from trainer.machine import PRECISIONS


@torch.no_grad()
def predict(
    model: nn.Module, images: TorchDataset, batch_size: int = 64, use_cpu: bool = False, precision: str = "float32"
) -> tuple[dict[str, Predictions], np.ndarray]:
    """What a model predicts for every image, in row order; under `accelerate launch` the ranks share the images.

    Args:
        model: a DeiT-LT student, or any classifier of `pixel_values`; it is left on the device, in evaluation mode.
        images: rows with `pixel_values` and `labels`, such as `EvaluationImages`.
        batch_size: images per rank at a time. Default 64.
        use_cpu: leave accelerators alone. Default False.
        precision: of the computation, by autocast: "float32" (default), "bf16" or "fp16".

    Returns:
        {expert: `Predictions`}, on every rank those of all, with the names of `expert_logits`; (N,) labels.

    Raises:
        SettingError: an unknown precision, or one that the device does not have.
        RunError: a logit is not finite.
    """
    accelerator = _accelerator(use_cpu, precision)
    model = model.to(accelerator.device).eval()
    batches = accelerator.prepare(DataLoader(images, batch_size))
    rows = EvalLoopContainer()
    for batch in batches:
        with accelerator.autocast():
            output = model(batch["pixel_values"])
        found = {expert: reduced(logits) for expert, logits in expert_logits(output).items()}
        # Ranks get equally many rows, some of them twice if need be; gathering for metrics drops the second ones.
        rows.add(accelerator.gather_for_metrics((found, batch["labels"])))
    arrays, labels = rows.get_arrays()
    result = {expert: Predictions(*pair) for expert, pair in arrays.items()}
    for expert, predicted in result.items():
        broken = np.flatnonzero(np.isnan(predicted.confidence))
        if len(broken):
            advice = "check its weights" if precision == "float32" else "take precision float32, or check its weights"
            raise RunError(f"the model's logits ({expert}) of image {broken[0]} are not finite; {advice}")
    return result, labels


def reduced(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The fields of `Predictions`, on the device of the logits, without waiting for it.

    Join those of one batch after the other, as Trainer and its `EvalLoopContainer` do: in a list, small tensors would
    lie between the memory of one batch's logits and the next's, which then cannot be used again.

    Args:
        logits: (B, C) of one expert.

    Returns:
        (B,) classes; (B,) confidence in float64, on Apple's GPUs, which have none, in float32.
    """
    wide = torch.float32 if logits.device.type == "mps" else torch.float64
    confidence = logits.softmax(dim=1, dtype=wide).amax(dim=1)  # NaN where a logit is, or is infinite
    return logits.argmax(dim=1), confidence.where(logits.amin(dim=1) > -torch.inf, torch.nan)


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
