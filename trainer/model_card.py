"""The model card of a run: the project's model_card.md with this run's figures in its places."""

from __future__ import annotations

from dataclasses import MISSING, fields

from huggingface_hub import EvalResult, ModelCard

from trainer.errors import RunError
from trainer.evaluation import markdown_table

SECTIONS = ("data", "results", "settings")
# Settings that say where and how a run was watched, or that follow from others.
NOT_LISTED = [
    "output_dir",
    "teacher_output_dir",
    "teacher",
    "teacher_class_names",
    "disable_tqdm",
    "report_to",
    "debug",
    "label_names",
    "dataloader_pin_memory",
    "dataloader_persistent_workers",
    "dataloader_num_workers",
    "per_device_eval_batch_size",
    "activation_checkpointing",
    "gradient_checkpointing",
    "learning_rate",
    "warmup_steps",
    "save_strategy",
]


def fill_model_card(template: str, metrics: dict, settings: tuple) -> str:
    """Fill the card template of the project.

    Args:
        template: text of `model_card.md`: front matter, and a line `<!-- run: NAME -->` for each of data, results and
            settings; the text between it and `<!-- end -->` is replaced.
        metrics: contents of `metrics.json`.
        settings: the model, data and training arguments; those that differ from their defaults are listed.

    Returns:
        A valid model card with `model-index` metadata.

    Raises:
        RunError: the template lacks a place.
    """
    chosen = metrics["best"] or metrics["last"]
    texts = {
        "data": _data(metrics, settings[1].dataset),
        "results": _results(metrics, chosen),
        "settings": _settings(settings),
    }
    for name in SECTIONS:
        start, end = f"<!-- run: {name} -->", "<!-- end -->"
        before, mark, after = template.partition(start)
        if not mark or end not in after:
            raise RunError(f"model_card.md has no place {start} ... {end}")
        template = before + texts[name] + after.partition(end)[2]
    card = ModelCard(template)
    card.data.model_name = f"DeiT-LT {metrics['recipe']}"
    mean = chosen["mean"]
    leading = next(iter(mean))  # balanced accuracy where the test split is imbalanced
    parts = {leading: "mean of both experts", "tail": "mean of both experts on tail classes"}
    card.data.eval_results = [
        EvalResult(
            task_type="image-classification",
            dataset_type="image-classification",
            dataset_name=settings[1].dataset,
            dataset_split="test",
            metric_type="accuracy" if key == "tail" else key,
            metric_name=f"{'accuracy' if key == 'tail' else key.replace('_', ' ')}, {part}",
            metric_value=round(mean[key], 2),
        )
        for key, part in parts.items()
        if mean[key] is not None
    ]
    return str(card)


def _data(metrics: dict, dataset: str) -> str:
    counts = metrics["class_counts"]
    return (
        f"Trained on the training split of `{dataset}`: {sum(counts)} images of {len(counts)} classes, "
        f"{max(counts)} in the largest and {min(counts)} in the smallest. Class counts in label order are "
        "in `config.json`."
    )


def _results(metrics: dict, chosen: dict) -> str:
    selected = {
        "last": "the last epoch's weights",
        "validation": "the best checkpoint by balanced accuracy on held-out training images",
        "paper": "the best checkpoint on this test split itself, as the paper's figures: too high by the choice",
    }["last" if metrics["best"] is None else metrics["model_selection"]]
    return (
        f"{markdown_table(chosen, metrics['groups'])}\n\nTest split; {selected}; one run, seed {metrics['seed']}, "
        f"{metrics['epochs']:g} epochs in {metrics['wall_seconds']:.0f} s on {metrics['device']} "
        f"({metrics['images_per_second']:.0f} images per second). All figures, with the last, best and averaged "
        "weights' and the teacher's, are in `metrics.json`; per-class accuracies in `plots/`.\n\n"
        "![accuracy per class](plots/class_accuracy.png)"
    )


def _settings(settings: tuple) -> str:
    lines = []
    for arguments in settings:
        for entry in fields(arguments):
            value = getattr(arguments, entry.name)
            default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
            listed = entry.init and entry.name not in NOT_LISTED
            if listed and value != default and isinstance(value, (int, float, str, list)):
                lines.append(f"- `{entry.name}`: {value}")
    return "\n".join(lines)
