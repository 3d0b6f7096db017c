"""The project's card is valid by itself, and refuses to be filled where it has no place."""

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from trainer.errors import RunError
from trainer.model_card import SECTIONS, fill_model_card

CARD = Path(__file__).parents[1] / "model_card.md"
METRICS = {
    "recipe": "test",
    "data": {"dataset": "pictures"},
    "class_counts": [3, 1],
    "groups": "rule",
    "best": None,
    "last": {"mean": {"accuracy": 50.0, "tail": None}},
    "findings": [],
    "model_selection": "last",
    "seed": 0,
    "epochs": 1.0,
    "wall_seconds": 1.0,
    "images_per_second": 4.0,
    "device": "cpu",
}


def test_metadata_are_what_the_hub_reads():
    card = ModelCard.load(CARD)
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "image-classification"
    assert all(f"<!-- run: {name} -->" in card.text for name in SECTIONS)


def test_a_card_without_a_place_is_refused():
    with pytest.raises(RunError, match="has no place <!-- run: use -->"):
        fill_model_card({**METRICS, "last": _report()}, {}, template="# A card")


def test_an_empty_group_is_left_out_of_the_metadata():
    text = fill_model_card({**METRICS, "last": _report()}, {})
    assert [result.metric_value for result in ModelCard(text).data.eval_results] == [50.0]


def test_balanced_accuracy_leads_where_the_report_leads_with_it():
    numbers = {"balanced_accuracy": None, **_report()["mean"]} | {"balanced_accuracy": 40.0, "tail": 30.0}
    metrics = {**METRICS, "last": dict.fromkeys(("mean", "cls", "dist"), numbers)}
    card = ModelCard(fill_model_card(metrics, {}))
    results = card.data.eval_results
    assert [(r.metric_type, r.metric_value) for r in results] == [("balanced_accuracy", 40.0), ("accuracy", 30.0)]
    assert results[0].metric_name == "balanced accuracy, mean of both experts"


def test_settings_are_a_list():
    text = fill_model_card({**METRICS, "last": _report()}, {"alpha": 0.25, "group": [3, 7]})
    assert "- `alpha`: 0.25\n- `group`: [3, 7]" in text


def test_a_choice_on_the_test_split_is_named():
    metrics = {**METRICS, "last": _report(), "best": _report(), "model_selection": "paper"}
    text = fill_model_card(metrics, {})
    assert "the best checkpoint on this test split itself" in text


def _report():
    from trainer.evaluation.report import METRICS as NAMES

    numbers = dict.fromkeys(NAMES) | {"accuracy": 50.0}
    return dict.fromkeys(("mean", "cls", "dist"), numbers)
