import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

from trainer.evaluation import expert_report, head_mid_tail, many_medium_few, per_class_accuracy

ROOT = Path(__file__).resolve().parents[2]
GROUPS = ["head", "mid", "tail", "many", "medium", "few"]
KEYS = ["accuracy", "balanced_accuracy", *GROUPS, "macro_f1", "g_mean", "worst", "ece"]
COUNTS = np.array([5, 500, 50, 20, 300, 100, 12, 1000])


def draw(rows=400, num_classes=8, seed=0, signal=1.5):
    """Logits that are right more often than not, and labels; every class is among the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % num_classes)
    return rng.normal(size=(rows, num_classes)) + signal * np.eye(num_classes)[labels], labels


def test_the_numbers_of_each_expert_equal_scikit_learns():
    logits, labels = draw()
    # Unequal numbers of test images, so that overall and per-class means differ.
    kept = np.flatnonzero(np.random.default_rng(1).random(len(labels)) < 0.1 + labels / 8)
    logits, labels = logits[kept], labels[kept]
    experts = {"mean": logits, "cls": -logits, "dist": np.roll(logits, 1, axis=0)}
    report = expert_report(experts, labels, COUNTS)
    assert list(report) == ["mean", "cls", "dist"]
    for name, scores in experts.items():
        predictions = scores.argmax(axis=1)
        recalls = recall_score(labels, predictions, average=None, zero_division=0)
        expected = {
            "accuracy": accuracy_score(labels, predictions),
            "balanced_accuracy": balanced_accuracy_score(labels, predictions),
            "macro_f1": f1_score(labels, predictions, average="macro", zero_division=0),
            "g_mean": np.prod(recalls) ** (1 / 8),
            "worst": recalls.min(),
        }
        for group, members in (head_mid_tail(COUNTS) | many_medium_few(COUNTS)).items():
            expected[group] = recalls[members].mean()
        assert sorted(report[name]) == sorted(KEYS)
        for key, value in expected.items():
            assert report[name][key] == pytest.approx(100 * value, abs=1e-9), (name, key)
        np.testing.assert_allclose(per_class_accuracy(scores, labels, 8), 100 * recalls)


def test_balanced_accuracy_leads_where_test_classes_differ_in_size():
    """A class without test images is no such difference."""
    logits, labels = draw(rows=16)
    counts = np.append(COUNTS, 3)
    balanced = expert_report({"mean": np.pad(logits, ((0, 0), (0, 1)))}, labels, counts)
    assert list(balanced["mean"]) == KEYS
    unequal = expert_report({"mean": logits[1:]}, labels[1:], COUNTS)
    assert list(unequal["mean"])[:2] == ["balanced_accuracy", "accuracy"]


def test_a_number_of_each_kind_by_hand():
    predictions = np.array([0, 0, 1, 1, 1, 0, 2, 2])
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    numbers = expert_report({"cls": np.eye(3)[predictions]}, labels, [9, 200, 30])["cls"]
    assert numbers["accuracy"] == pytest.approx(62.5)
    assert [numbers[g] for g in ("head", "mid", "tail")] == pytest.approx([50, 100, 50])
    assert [numbers[g] for g in ("many", "medium", "few")] == pytest.approx([50, 100, 50])
    assert numbers["macro_f1"] == pytest.approx(100 * (4 / 7 + 2 / 5 + 1) / 3)
    assert numbers["g_mean"] == pytest.approx(100 * 0.25 ** (1 / 3))
    assert numbers["worst"] == 50


def test_ece_by_hand():
    # Confidences 0.95 and 1 share the last bin (14/15, 1]; 0.599 lies in (8/15, 9/15], 0.62 in (9/15, 10/15].
    confidence = np.array([0.95, 1, 0.599, 0.62])
    logits = np.log(np.stack([confidence, np.maximum(1 - confidence, 1e-300)], axis=1))
    numbers = expert_report({"mean": logits}, [0, 1, 0, 1], [10, 10])["mean"]
    expected = (abs((0.95 + 1) - 1) + abs(0.599 - 1) + abs(0.62 - 0)) / 4
    assert numbers["ece"] == pytest.approx(100 * expected)


def test_ece_survives_large_logits_in_half_precision():
    logits = np.array([[60000, -60000], [-60000, 60000], [60000, 0], [0, 0]], dtype=np.float16)
    numbers = expert_report({"mean": logits}, [0, 1, 1, 0], [10, 10])["mean"]
    # Three rows of confidence 1, two of them right; one right row of confidence 1/2.
    assert numbers["ece"] == pytest.approx(100 * (1 + 0.5) / 4)


def test_half_precision_costs_no_accuracy_in_the_softmax():
    logits, labels = draw()
    half = logits.astype(np.float16)
    experts = {"half": half, "double": half.astype(np.float64)}
    report = expert_report(experts, labels, COUNTS)
    assert report["half"] == report["double"]


def test_ece_of_many_rows_equals_the_definition():
    # Logits times the signal are calibrated, so that the gaps have both signs and the number of bins matters.
    logits, labels = draw(rows=4000)
    logits = 1.5 * logits
    exps = np.exp(logits)
    confidence = (exps / exps.sum(axis=1, keepdims=True)).max(axis=1)
    correct = logits.argmax(axis=1) == labels
    expected = 0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert expert_report({"x": logits}, labels, COUNTS)["x"]["ece"] == pytest.approx(100 * expected)


@pytest.mark.parametrize("boundaries", [None, (1, 7), (2, 3)])
def test_groups_recombine_to_the_overall_accuracy_on_a_balanced_test_set(boundaries):
    logits, labels = draw()
    numbers = expert_report({"mean": logits}, labels, COUNTS, boundaries)["mean"]
    for groups in (head_mid_tail(COUNTS, boundaries), many_medium_few(COUNTS)):
        together = sum(numbers[name] * len(members) for name, members in groups.items()) / 8
        assert together == pytest.approx(numbers["accuracy"])


def test_renaming_the_classes_changes_no_number():
    logits, labels = draw()
    new_name = np.random.default_rng(3).permutation(8)
    renamed = np.empty_like(logits)
    renamed[:, new_name] = logits
    counts = np.empty_like(COUNTS)
    counts[new_name] = COUNTS
    before = expert_report({"mean": logits}, labels, COUNTS)["mean"]
    assert expert_report({"mean": renamed}, new_name[labels], counts)["mean"] == pytest.approx(before)


def test_a_class_without_test_images_is_left_out_and_named():
    logits, labels = draw()
    logits, labels = logits[~np.isin(labels, [0, 6])], labels[~np.isin(labels, [0, 6])]
    report = expert_report({"mean": logits}, labels, COUNTS)
    predictions = logits.argmax(axis=1)
    present = [1, 2, 3, 4, 5, 7]
    recalls = recall_score(labels, predictions, labels=present, average=None, zero_division=0)
    assert report["classes_without_test_images"] == [0, 6]
    assert report["mean"]["few"] is None  # 0 and 6 are the only classes below 20 images
    assert report["mean"]["tail"] == pytest.approx(100 * recalls[present.index(3)])
    assert report["mean"]["worst"] == pytest.approx(100 * recalls.min())
    assert report["mean"]["g_mean"] == pytest.approx(100 * np.prod(recalls) ** (1 / 6))
    f1 = f1_score(labels, predictions, labels=present, average="macro", zero_division=0)
    assert report["mean"]["macro_f1"] == pytest.approx(100 * f1)
    assert np.flatnonzero(np.isnan(per_class_accuracy(logits, labels, 8))).tolist() == [0, 6]


def test_one_class_never_right_makes_g_mean_and_worst_zero():
    logits, labels = draw()
    logits[:, 2] = -100
    numbers = expert_report({"mean": logits}, labels, COUNTS)["mean"]
    assert (numbers["g_mean"], numbers["worst"]) == (0.0, 0.0)


def test_g_mean_of_many_classes_does_not_underflow():
    # Each of 2000 classes right once in two: the product of the recalls is 2**-2000.
    labels = np.repeat(np.arange(2000), 2)
    predictions = np.where(np.arange(4000) % 2, labels, (labels + 1) % 2000)
    logits = np.eye(2000, dtype=np.float16)[predictions]
    assert expert_report({"mean": logits}, labels, np.arange(2000))["mean"]["g_mean"] == pytest.approx(50)


def test_the_report_survives_json_unchanged():
    logits, labels = draw(num_classes=2)
    report = expert_report({"mean": logits.astype(np.float32)}, labels, [300, 200])
    assert report["mean"]["mid"] is None
    assert report["mean"]["few"] is None
    assert {type(v) for v in report["mean"].values()} == {float, type(None)}
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def broken(logits, row, value):
    logits = logits.copy()
    logits[row, 3] = value
    return logits


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x, y: ({}, y), "no expert"),
        (lambda x, y: ({"cls": x[:0]}, y[:0]), "no images"),
        (lambda x, y: ({"cls": x, "dist": x[1:]}, y), r"expert 'dist' .*\(400, 8\).*\(399, 8\)"),
        (lambda x, y: ({"cls": x[:, :5]}, y), r"expert 'cls' .*\(400, 8\).*\(400, 5\)"),
        (lambda x, y: ({"cls": x.astype(str)}, y), "expert 'cls' must be numbers"),
        (lambda x, y: ({"cls": x}, np.where(np.arange(400) == 7, 8, y)), r"row 7 has the label 8, outside 0\.\.7"),
        (lambda x, y: ({"cls": x}, np.where(np.arange(400) == 9, -1, y)), "row 9 has the label -1"),
        (lambda x, y: ({"cls": x}, y.astype(float)), "whole numbers"),
        (lambda x, y: ({"cls": x}, y[:, None]), "one number per image"),
        (lambda x, y: ({"cls": x, "dist": broken(x, 11, np.nan)}, y), "expert 'dist' are not finite in row 11"),
        (lambda x, y: ({"cls": broken(x, 0, -np.inf)}, y), "expert 'cls' are not finite in row 0"),
    ],
)
def test_wrong_input_is_refused_in_one_line(change, says):
    experts, labels = change(*draw())
    with pytest.raises(ValueError, match=says) as error:
        expert_report(experts, labels, COUNTS)
    assert "\n" not in str(error.value)


def test_importing_the_room_pulls_in_nothing_heavy():
    heavy = "{'torch', 'transformers', 'matplotlib', 'datasets'}"
    code = f"import sys, trainer.evaluation; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
