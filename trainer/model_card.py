"""The model card of a run: the project's model_card.md with this run's figures in its places."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import EvalResult, ModelCard

from trainer.errors import RunError
from trainer.evaluation import markdown_table

TEMPLATE = Path(__file__).with_name("model_card.md")
SECTIONS = ("use", "data", "results", "findings", "settings")
PIPELINE = """```python
from transformers import pipeline

classify = pipeline("image-classification", model="PATH_OF_THIS_FOLDER", trust_remote_code=True)
classify("image.png")
```"""
PROCESSOR = """```python
from transformers import AutoImageProcessor, AutoModelForImageClassification

folder = "PATH_OF_THIS_FOLDER"
processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True)
scores = model(**processor("image.{ending}", return_tensors="pt")).logits.softmax(-1)
```

Images have {channels}, so the processor reads the files: `pipeline` would make them RGB of 8 bits first."""


def fill_model_card(metrics: dict, settings: dict, template: str | None = None) -> str:
    """Fill the card template of the project.

    Args:
        metrics: contents of `metrics.json`.
        settings: those to be listed, by name.
        template: front matter, and a line `<!-- run: NAME -->` for each of `SECTIONS`; the text up to `<!-- end -->`
            is replaced. Default: the project's model_card.md.

    Returns:
        A valid model card with `model-index` metadata.

    Raises:
        RunError: the template lacks a place.
    """
    template = TEMPLATE.read_text() if template is None else template
    chosen = metrics["best"] or metrics["last"]
    texts = {
        "use": _use(metrics["data"].get("num_channels", 3)),
        "data": _data(metrics),
        "results": _results(metrics, chosen),
        "findings": "\n".join(f"- {text}" for text in metrics["findings"]) or "Nothing stood out.",
        "settings": "\n".join(f"- `{name}`: {value}" for name, value in settings.items()),
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
            dataset_name=metrics["data"]["dataset"],
            dataset_split="test",
            metric_type="accuracy" if key == "tail" else key,
            metric_name=f"{'accuracy' if key == 'tail' else key.replace('_', ' ')}, {part}",
            metric_value=round(mean[key], 2),
        )
        for key, part in parts.items()
        if mean[key] is not None
    ]
    return str(card)


def _use(channels: int) -> str:
    if channels == 3:
        return PIPELINE
    shown = {"ending": "png", "channels": "one channel"} if channels == 1 else {"ending": "npy"}
    return PROCESSOR.format(**{"channels": f"{channels} channels", **shown})


def _data(metrics: dict) -> str:
    counts = metrics["class_counts"]
    return (
        f"Trained on the training split of `{metrics['data']['dataset']}`: {sum(counts)} images of {len(counts)} "
        f"classes, {max(counts)} in the largest and {min(counts)} in the smallest. Class counts in label order are "
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
