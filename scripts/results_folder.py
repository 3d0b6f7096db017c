"""What a run leaves in its output folder beside the model: figures, plots, its model card and an image to try."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from building import write_json
from datasets import DatasetDict

from trainer.evaluation import per_class_accuracy, plot_class_accuracy, plot_history
from trainer.model_card import fill_model_card
from trainer.trainer import EXPERTS

MODEL_CARD = Path(__file__).parent.parent / "model_card.md"


def write_results(folder: Path, metrics: dict, prediction, splits: DatasetDict, settings: tuple) -> None:
    """Write metrics.json, plots/, README.md and example.png.

    Args:
        folder: of the run.
        metrics: all figures.
        prediction: of the saved weights on the test split.
        splits: the data.
        settings: the model, data and training arguments.
    """
    write_json(folder / "metrics.json", metrics)
    (folder / "plots").mkdir(exist_ok=True)
    counts, names = metrics["class_counts"], splits["train"].features["label"].names
    accuracies = {
        expert: per_class_accuracy(logits, prediction.label_ids, len(counts))
        for expert, logits in zip(EXPERTS, prediction.predictions, strict=True)
    }
    plot_class_accuracy(accuracies, counts, names, folder / "plots" / "class_accuracy.png")
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    plot_history(history, folder / "plots" / "history.png")
    (folder / "README.md").write_text(fill_model_card(MODEL_CARD.read_text(), metrics, settings))
    labels = np.asarray(splits["test"]["label"])
    rarest = min(np.unique(labels).tolist(), key=lambda label: counts[label])
    splits["test"][int(np.flatnonzero(labels == rarest)[0])]["image"].convert("RGB").save(folder / "example.png")
