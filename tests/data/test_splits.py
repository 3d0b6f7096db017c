import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from trainer.data import class_counts, stratified_split
from trainer.errors import DataError

NAMES = ["a", "b", "c", "d"]


def labelled(counts, order_seed=0):
    labels = np.random.default_rng(order_seed).permutation(np.repeat(np.arange(len(counts)), counts))
    features = Features({"row": Value("int64"), "label": ClassLabel(names=NAMES)})
    return Dataset.from_dict({"row": range(len(labels)), "label": labels}, features=features)


@pytest.mark.parametrize(("fraction", "held"), [(0.1, [10, 1, 1, 0]), (0.5, [50, 4, 1, 0]), (0.99, [99, 6, 1, 0])])
def test_sizes_per_class(fraction, held):
    dataset = labelled([100, 7, 2, 1])
    rest, out = stratified_split(dataset, fraction)
    assert class_counts(out).tolist() == held
    assert (class_counts(rest) + class_counts(out)).tolist() == [100, 7, 2, 1]


def test_parts_are_disjoint_complete_and_in_order():
    rest, out = stratified_split(labelled([30, 20, 10, 3]), 0.25, seed=3)
    assert sorted(rest[:]["row"] + out[:]["row"]) == list(range(63))
    assert rest[:]["row"] == sorted(rest[:]["row"])
    assert out[:]["row"] == sorted(out[:]["row"])


def test_seed_decides_and_classes_do_not_disturb_each_other():
    dataset = labelled([40, 40, 40, 0])
    out = stratified_split(dataset, 0.25)[1]
    assert out[:]["row"] == stratified_split(dataset, 0.25)[1][:]["row"]
    assert out[:]["row"] != stratified_split(dataset, 0.25, seed=1)[1][:]["row"]
    ordered = dataset.select(np.argsort(dataset[:]["label"])).remove_columns("row").add_column("row", [*range(40)] * 3)
    in_a, in_b = (stratified_split(ordered, 0.25)[1][:]["row"][i : i + 10] for i in (0, 10))
    assert in_a != in_b  # no class repeats the draw of another
    without_b = dataset.filter(lambda row: row["label"] != 1)
    assert stratified_split(without_b, 0.25)[1][:]["row"] == out.filter(lambda row: row["label"] != 1)[:]["row"]


def test_refusals():
    for fraction in (0, 1, -0.5, float("nan")):
        with pytest.raises(ValueError, match="fraction"):
            stratified_split(labelled([4, 4]), fraction)
    with pytest.raises(DataError, match="no class has two images"):
        stratified_split(labelled([1, 1, 1, 1]), 0.5)
