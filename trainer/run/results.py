"""Output files of a run beside the model: plots, model card, example image, and last its metrics."""

from __future__ import annotations

import numpy as np

from trainer.callbacks import read_history
from trainer.data import as_rgb
from trainer.evaluation import per_class_accuracy, plot_class_accuracy, plot_history
from trainer.model_card import fill_model_card
from trainer.run.files import write_json
from trainer.run.folder import METRICS
from trainer.run.student import Run


def write_results(run: Run) -> None:
    """Write plots/, README.md, example.png and then metrics.json, which marks the run as complete."""
    folder, data = run.folder, run.data
    (folder / "plots").mkdir(exist_ok=True)
    accuracies = {
        expert: per_class_accuracy(found, run.evaluation.labels, len(data.counts))
        for expert, found in run.evaluation.predictions.items()
    }
    plot_class_accuracy(accuracies, data.counts, data.names, folder / "plots" / "class_accuracy.png")
    history = read_history(folder)
    if any("loss" in row for row in history):  # none where nothing was logged
        plot_history(history, folder / "plots" / "history.png")
    (folder / "README.md").write_text(fill_model_card(run.metrics, run.recipe.changed))
    test = data.splits["test"]
    labels = np.asarray(test["label"])
    rarest = min(np.unique(labels).tolist(), key=lambda label: data.counts[label])
    as_rgb(test[int(np.flatnonzero(labels == rarest)[0])]["image"]).save(folder / "example.png")
    write_json(folder / METRICS, run.metrics)
