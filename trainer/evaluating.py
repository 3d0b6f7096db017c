"""transformers' Trainer with a report by head, mid and tail of each evaluation, and no logits of a whole split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset

from trainer.base_arguments import RunArguments
from trainer.evaluation import Predictions, expert_report, predictions
from trainer.predicting import reduced
from trainer.saving import SavingTrainer
from trainer.workers import end_workers


@dataclass(frozen=True)
class Evaluation:
    """How a model did on the images of a split.

    Attributes:
        predictions: of each expert.
        labels: (N,) true classes, in the same order.
        report: `expert_report`'s.
    """

    predictions: dict[str, Predictions]
    labels: np.ndarray
    report: dict[str, dict]


class EvaluatingTrainer(SavingTrainer):
    """Evaluates and tests with the expert report, from each batch's `Predictions`.

    The logits of a split of 8,142 classes would take gigabytes. Only `predict` returns them, as Trainer's does, and a
    `compute_metrics` of the user's own is given them.

    Args:
        model: what is evaluated.
        args: `RunArguments`.
        counts: (C,) training images per class.
        boundaries: of head/mid/tail, as `head_mid_tail` takes them. Default: thirds.
        kwargs: as for `Trainer`.
    """

    # Of each subclass: the names of the model's outputs in the report.
    experts: tuple[str, ...]

    def __init__(self, model: nn.Module, args: RunArguments, counts, boundaries=None, **kwargs):
        if "compute_metrics" not in kwargs:
            own = {"compute_metrics": self.expert_metrics, "preprocess_logits_for_metrics": reduced_experts}
            kwargs = {**own, **kwargs}
        super().__init__(model, args, **kwargs)
        self.counts, self.boundaries = counts, boundaries

    def test(self, images: TorchDataset) -> Evaluation:
        """Evaluate images with labels, without a log: what a report, a plot per class and the findings are made of."""
        output = self._predict(images)
        return Evaluation(self._by_expert(output.predictions), output.label_ids, self.report(output))

    def predict(self, *args, **kwargs):
        """Predict as Trainer does, so with the logits of all images; its workers end with it."""
        hook = self.preprocess_logits_for_metrics
        if hook is reduced_experts:
            self.preprocess_logits_for_metrics = None
        try:
            return self._predict(*args, **kwargs)
        finally:
            self.preprocess_logits_for_metrics = hook

    def _predict(self, *args, **kwargs):
        try:
            return super().predict(*args, **kwargs)
        finally:
            self._end_workers()

    def prediction_step(self, *args, **kwargs):
        """Trainer's, in inference mode; not where weights that are gathered for it serve the next training step."""
        divided = self.is_fsdp_enabled or self.is_deepspeed_enabled
        with torch.inference_mode(not divided):
            return super().prediction_step(*args, **kwargs)

    def report(self, prediction) -> dict[str, dict]:
        """The expert report of what `predict` returned or `compute_metrics` was given."""
        return expert_report(
            self._by_expert(prediction.predictions), prediction.label_ids, self.counts, self.boundaries
        )

    def expert_metrics(self, prediction) -> dict[str, float]:
        """Flat metrics of an evaluation, such as `dist_tail` (`tail` of a teacher); empty groups are left out."""
        report = self.report(prediction)
        prefixes = {name: f"{name}_" if len(self.experts) > 1 else "" for name in self.experts}
        return {f"{p}{k}": v for name, p in prefixes.items() for k, v in report[name].items() if v is not None}

    def _by_expert(self, outputs) -> dict[str, Predictions]:
        """From the arrays of an evaluation: what `reduced_experts` made of logits, or logits."""
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = (rows if isinstance(rows, tuple) else predictions(rows) for rows in outputs)
        return {name: Predictions(*pair) for name, pair in zip(self.experts, pairs, strict=True)}

    def _end_workers(self) -> None:
        while self.accelerator._dataloaders:
            end_workers(self.accelerator._dataloaders.pop().base_dataloader)
        self._eval_dataloaders = {}  # which Trainer keeps; one that is made anew ends with the next training


def reduced_experts(logits: Tensor | tuple[Tensor, ...], labels: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    """What `reduced` makes of each expert's logits; for Trainer, which can join the batches of plain tuples alone."""
    return tuple(map(reduced, logits if isinstance(logits, tuple) else (logits,)))
