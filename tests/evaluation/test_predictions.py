"""The reduction of logits to classes and confidences: numpy's and torch's, against scipy and each other."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from trainer.evaluation import Predictions, expert_report, per_class_accuracy, predictions
from trainer.predicting import reduced


def logits(rows=2500, num_classes=7, dtype=np.float32):
    """More rows than a block of the numpy way; the first rows have ties, the second row everywhere."""
    values = np.random.default_rng(0).normal(size=(rows, num_classes), scale=4).astype(dtype)
    values[0, 3] = values[0, 5] = 20
    values[1] = 0
    return values


def from_torch(values):
    return Predictions(*(field.numpy() for field in reduced(torch.from_numpy(values))))


BOTH = pytest.mark.parametrize("reduce", [predictions, from_torch], ids=["numpy", "torch"])


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_class_and_confidence_are_arg_max_and_softmax(reduce, dtype):
    values = logits(dtype=dtype)
    found = reduce(values)
    assert found.classes[:2].tolist() == [3, 0]  # of equal ones the first
    np.testing.assert_array_equal(found.classes, values.argmax(axis=1))
    np.testing.assert_allclose(found.confidence, softmax(values.astype(np.float64), axis=1).max(axis=1), rtol=1e-12)
    assert found.confidence.dtype == np.float64


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_known(reduce, value):
    values = logits()
    values[[1030, 2000], [0, 6]] = value
    values[2100] = value
    assert np.flatnonzero(np.isnan(reduce(values).confidence)).tolist() == [1030, 2000, 2100]


@BOTH
def test_large_logits_do_not_overflow(reduce):
    found = reduce(np.array([[1e30, -1e30], [3e4, 3e4]], dtype=np.float32))
    assert found.confidence.tolist() == [1, 0.5]


@BOTH
def test_a_row_takes_the_same_bytes_whatever_the_number_of_classes(reduce):
    sizes = {sum(field.nbytes for field in reduce(logits(rows=100, num_classes=c))) for c in (7, 1000)}
    assert sizes == {100 * (8 + 8)}


@BOTH
def test_a_report_of_predictions_is_that_of_the_logits(reduce):
    values, labels, counts = logits(), np.arange(2500) % 6, np.arange(1, 8)
    report = expert_report({"mean": values, "cls": -values}, labels, counts)
    other = expert_report({"mean": reduce(values), "cls": reduce(-values)}, labels, counts)
    assert other.pop("classes_without_test_images") == report.pop("classes_without_test_images") == [6]
    for expert, figures in report.items():
        assert other[expert] == pytest.approx(figures, abs=1e-9)
    np.testing.assert_array_equal(per_class_accuracy(reduce(values), labels, 7), per_class_accuracy(values, labels, 7))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"classes": np.zeros(4, int)}, r"expert 'x' must be 5 classes and confidences, .* int64 of the shape \(4,\)"),
        ({"confidence": np.ones((5, 2))}, r"float64 of the shape \(5, 2\)"),
        ({"classes": np.zeros(5)}, "5 classes and confidences"),
        ({"classes": np.array([0, 1, 3, 0, 0])}, r"expert 'x' predicts class 3 in row 2, outside 0\.\.2"),
        ({"confidence": np.array([1, 1, 1, np.nan, 1])}, "logits of expert 'x' are not finite in row 3"),
    ],
)
def test_predictions_that_cannot_be_are_refused(change, says):
    given = Predictions(np.zeros(5, int), np.ones(5))._replace(**change)
    with pytest.raises(ValueError, match=says):
        expert_report({"x": given}, np.array([0, 1, 2, 0, 1]), [3, 2, 1])
