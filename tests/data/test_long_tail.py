from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value, load_dataset

from trainer.data import class_counts, long_tailed_counts, make_long_tailed
from trainer.errors import DataError

REAL = Path(__file__).parents[3] / "shared" / "data"


def labelled(labels, names=None):
    feature = ClassLabel(names=names) if names else Value("int64")
    rows = {"row": range(len(labels)), "label": labels}
    return Dataset.from_dict(rows, features=Features({"row": Value("int64"), "label": feature}))


def published_rows(labels, counts):
    """The draw as the benchmark's authors describe it, on numpy's global generator."""
    state = np.random.get_state()
    np.random.seed(0)
    rows = []
    for label, count in enumerate(counts):
        of_class = np.where(np.asarray(labels) == label)[0]
        np.random.shuffle(of_class)
        rows.extend(of_class[:count])
    np.random.set_state(state)
    return rows


CIFAR10 = {
    100: [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50],
    50: [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100],
    10: [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500],
}


@pytest.mark.parametrize(("rho", "total"), [(100, 12406), (50, 13996), (10, 20431)])
def test_cifar10_counts_are_the_published_ones(rho, total):
    counts = long_tailed_counts([5000] * 10, rho, "exp")
    assert counts.tolist() == CIFAR10[rho]
    assert counts.sum() == total


@pytest.mark.parametrize(("rho", "total", "smallest"), [(100, 10847, 5), (50, 12608, 10), (10, 19573, 50)])
def test_cifar100_counts_are_the_published_ones(rho, total, smallest):
    counts = long_tailed_counts([500] * 100, rho, "exp")
    assert (counts.sum(), counts[0], counts[-1]) == (total, 500, smallest)
    assert (np.diff(counts) <= 0).all()


def test_step_profile():
    assert long_tailed_counts([500] * 5, 100, "step").tolist() == [500, 500, 5, 5, 5]
    # 98 * (1 / 49) is 1.999... in floats
    assert long_tailed_counts([98] * 2, 49, "step").tolist() == [98, 2]


def test_largest_profile_that_fits_is_the_default():
    available = [37, 9, 30, 2]
    counts = long_tailed_counts(available, 4, "exp")
    fits = [n for n in range(1, 38) if all(int(n * 0.25 ** (i / 3)) <= a for i, a in enumerate(available))]
    assert counts[0] == max(fits)
    assert (counts <= available).all()
    with pytest.raises(DataError, match=r"class '\d' has \d+ images, needs \d+"):
        long_tailed_counts(available, 4, "exp", max_per_class=max(fits) + 1)


def test_largest_rho_in_the_message_works_and_the_next_does_not():
    with pytest.raises(DataError, match=r"class 'b'.*largest whole rho that works is (\d+)") as caught:
        long_tailed_counts([20, 9, 20], 500, "exp", names=["a", "b", "c"])
    works = int(str(caught.value).split()[-1])
    assert long_tailed_counts([20, 9, 20], works, "exp").min() == 1
    with pytest.raises(DataError, match="without images"):
        long_tailed_counts([20, 9, 20], works + 1, "exp")


def test_wrong_arguments():
    for wrong in ({"rho": 0.5}, {"rho": float("nan")}, {"profile": "linear"}, {"max_per_class": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            long_tailed_counts(**({"available": [5, 5], "rho": 2, "profile": "exp"} | wrong))
    with pytest.raises(DataError, match="class 'b' has no images"):
        long_tailed_counts([5, 0], 2, "exp", names=["a", "b"])


@pytest.mark.parametrize(("classes", "per_class", "rho"), [(10, 5000, 100), (100, 500, 50)])
def test_rows_are_the_published_draw(classes, per_class, rho):
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(classes), per_class))
    dataset = labelled(labels, names=[f"class {i}" for i in range(classes)])
    kept = make_long_tailed(dataset, rho=rho)
    expected = published_rows(labels, long_tailed_counts([per_class] * classes, rho, "exp"))
    assert np.array_equal(kept.with_format("numpy")[:]["row"], expected)
    assert kept.features == dataset.features
    other = make_long_tailed(dataset, rho=rho, seed=1)
    assert len(other) == len(kept)
    assert other[:]["row"] != kept[:]["row"]


def test_label_order_is_kept_though_a_later_class_is_larger():
    dataset = labelled([0] * 4 + [1] * 40 + [2] * 20, names=["z", "m", "a"])
    kept = make_long_tailed(dataset, rho=2)
    assert class_counts(kept).tolist() == [4, 2, 2]
    assert kept.features["label"].names == ["z", "m", "a"]


def test_a_subset_of_a_subset_uses_its_own_rows():
    dataset = labelled([0, 1] * 50).select(range(99, 19, -1))
    assert class_counts(dataset).tolist() == [40, 40]
    kept = make_long_tailed(dataset, rho=4)
    expected = published_rows([1, 0] * 40, [40, 10])
    assert kept[:]["row"] == [99 - row for row in expected]


def test_class_counts():
    assert class_counts(labelled([2, 0, 2], names=["a", "b", "c", "d"])).tolist() == [1, 0, 2, 0]
    assert class_counts(labelled([2, 0, 2])).tolist() == [1, 0, 2]
    assert class_counts(labelled([2, 0])).dtype == np.int64
    with pytest.raises(DataError, match="columns present: row, label"):
        class_counts(labelled([0]), "fine_label")
    with pytest.raises(DataError, match="row 1: label -1"):
        class_counts(labelled([0, -1]))
    with pytest.raises(DataError, match="row 2: label missing"):
        class_counts(labelled([0, 1, None]))


@pytest.mark.parametrize(("name", "column", "rho"), [("cifar10", "label", 100), ("cifar100", "fine_label", 100)])
def test_real_cifar(name, column, rho):
    if not (REAL / name).is_dir():
        pytest.skip(f"no local copy of {name}")
    train = load_dataset(str(REAL / name), split="train")
    labels = np.array(train[column][:])
    kept = make_long_tailed(train, rho=rho, label_column=column)
    expected = published_rows(labels, long_tailed_counts(np.bincount(labels), rho, "exp"))
    assert len(kept) == {"cifar10": 12406, "cifar100": 10847}[name]
    for row in (0, 7000, len(kept) - 1):
        assert kept[row]["img"].tobytes() == train[int(expected[row])]["img"].tobytes()
    assert np.array_equal(np.array(kept[column][:]), labels[expected])
