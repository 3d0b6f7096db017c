"""Copies of CIFAR whose rows have another order give the published subset all the same, or are refused."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value, load_dataset

from trainer.data import make_long_tailed, published_order
from trainer.errors import DataError

REAL = Path(__file__).parents[3] / "shared" / "data"
ARCHIVE = (3, 2, 1, 4, 0)  # data_batch_4, 3, 2, 5, 1: the members of the archive, as a copy on the Hub has them
NAMES = ["airplane", *"bcdefghi", "truck"]


def made_up(names=NAMES):
    """A stand-in for CIFAR-10, whose labels no test may fetch: 5,000 rows of each class in a random order."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 5_000))
    features = Features({"row": Value("int64"), "label": ClassLabel(names=list(names))})
    return Dataset.from_dict({"row": range(50_000), "label": labels}, features)


@pytest.fixture
def known(monkeypatch):
    """The stand-in is in the table, by its five blocks."""
    labels = np.array(made_up()["label"][:], dtype=np.uint8)
    blocks = tuple(hashlib.sha256(part.tobytes()).hexdigest() for part in np.split(labels, 5))
    entry = published_order.Published("CIFAR-10", 10, "airplane", "truck", blocks)
    monkeypatch.setattr(published_order, "PUBLISHED", (entry,))


def with_blocks(dataset, order):
    return dataset.select(np.concatenate([np.arange(10_000) + 10_000 * block for block in order]))


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), ARCHIVE, (4, 3, 2, 1, 0)])
@pytest.mark.parametrize("seed", [0, 7])
def test_blocks_in_any_order_give_the_same_rows(known, order, seed):
    expected = make_long_tailed(made_up(), rho=100, seed=seed)[:]["row"]
    assert make_long_tailed(with_blocks(made_up(), order), rho=100, seed=seed)[:]["row"] == expected


def test_without_the_table_they_would_not(monkeypatch):
    monkeypatch.setattr(published_order, "PUBLISHED", ())
    kept = make_long_tailed(with_blocks(made_up(), ARCHIVE), rho=100)[:]["row"]
    assert len(set(kept) & set(make_long_tailed(made_up(), rho=100)[:]["row"])) < 0.7 * len(kept)


def test_an_unknown_order_is_refused_for_the_published_seed_alone(known):
    shuffled = made_up().shuffle(seed=1)
    with pytest.raises(DataError, match=r"CIFAR-10 in an order that is not known.*--split_seed 1"):
        make_long_tailed(shuffled, rho=100)
    assert len(make_long_tailed(shuffled, rho=100, seed=1)) == 12_406


def test_other_data_of_the_same_size_are_left_alone(known):
    other = made_up(names=[f"kind {i}" for i in range(10)]).shuffle(seed=1)
    labels = np.array(other["label"][:])
    assert published_order.original_order(labels, other.features["label"].names, 0) is None
    part = made_up().select(range(40_000))
    assert published_order.original_order(np.array(part["label"][:]), NAMES, 0) is None


def test_cifar10_in_the_order_of_the_archive_gives_the_published_subset_image_for_image():
    if not (REAL / "cifar10").is_dir():
        pytest.skip("no local copy of cifar10")
    train = load_dataset(str(REAL / "cifar10"), split="train").cast_column("img", Image(decode=False))
    expected, kept = make_long_tailed(train, rho=100), make_long_tailed(with_blocks(train, ARCHIVE), rho=100)
    assert len(kept) == 12_406
    assert kept["label"][:] == expected["label"][:]
    assert [image["bytes"] for image in kept["img"]] == [image["bytes"] for image in expected["img"]]
    with pytest.raises(DataError, match="split_seed"):
        make_long_tailed(train.shuffle(seed=0), rho=100)


def test_cifar100_is_one_block():
    if not (REAL / "cifar100").is_dir():
        pytest.skip("no local copy of cifar100")
    train = load_dataset(str(REAL / "cifar100"), split="train")
    assert len(make_long_tailed(train, rho=100, label_column="fine_label")) == 10_847
    with pytest.raises(DataError, match="CIFAR-100 in an order that is not known"):
        make_long_tailed(train.shuffle(seed=0), rho=100, label_column="fine_label")
