"""Output files of a run beside the model: plots, model card, example image, and last its metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from trainer.augmentation import stored_images
from trainer.callbacks import read_history
from trainer.evaluation import per_class_accuracy, plot_class_accuracy, plot_history
from trainer.model_card import fill_model_card
from trainer.run.data import RunData
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
    save_example(data, folder / run.example)
    write_json(folder / METRICS, run.metrics)


def save_example(data: RunData, file: Path) -> None:
    """A test image of the rarest class that has one, to try the model on; of many channels as an array."""
    labels, channels = np.asarray(data.splits["test"]["label"]), data.pixels.channels
    rarest = min(np.unique(labels).tolist(), key=lambda label: data.counts[label])
    ((image, _),) = stored_images(data.splits["test"], [int(np.flatnonzero(labels == rarest)[0])], channels)
    if file.suffix == ".npy":
        np.save(file, image)
    else:
        (image if channels == 3 else Image.fromarray(image[..., 0])).save(file)
