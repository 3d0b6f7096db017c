"""`evaluate.load("trainer/evaluation/deit_lt_report")`: the fused expert's report as an `evaluate` metric."""

import datasets
import evaluate

from trainer.evaluation import expert_report

_DESCRIPTION = "Long-tailed classification in percent: overall, head/mid/tail, many/medium/few, macro F1, ..., ECE."
_INPUTS = """
Args:
    predictions: (N, C) logits.
    references: (N,) class indices.
    class_counts: (C,) training images per class.
    boundaries: where head, mid and tail are cut, a pair of ranks or a paper data set's name. Default None: thirds.
"""
_CITATION = "DeiT-LT: Distillation Strikes Back for Vision Transformer Training on Long-Tailed Datasets, CVPR 2024"


class DeiTLTReport(evaluate.Metric):
    """One expert's numbers; the arithmetic is `trainer.evaluation.expert_report`'s."""

    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            inputs_description=_INPUTS,
            citation=_CITATION,
            reference_urls=["https://arxiv.org/abs/2404.02900"],
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Value("int64"),
                }
            ),
        )

    def _compute(self, predictions, references, class_counts, boundaries=None):
        return expert_report({"mean": predictions}, references, class_counts, boundaries)["mean"]
