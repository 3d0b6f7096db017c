import numpy as np
import pytest

from trainer.evaluation import (
    PAPER_BOUNDARIES,
    group_rule,
    head_mid_tail,
    imbalance_ratio,
    many_medium_few,
    rank_order,
)

PAPER_SIZES = {
    "cifar10_lt": (3, 4, 3),
    "cifar100_lt": (36, 35, 29),
    "imagenet_lt": (390, 445, 165),
    "inaturalist2018": (842, 3701, 3599),
}


def as_lists(groups):
    return {name: members.tolist() for name, members in groups.items()}


def test_groups_hold_the_data_sets_own_labels_in_any_order_of_classes():
    counts = np.array([5, 500, 50, 20, 300, 100])
    assert as_lists(head_mid_tail(counts)) == {"head": [1, 4], "mid": [5, 2], "tail": [3, 0]}
    assert as_lists(many_medium_few(counts)) == {"many": [1, 4], "medium": [5, 2, 3], "few": [0]}


def test_ties_keep_label_order_even_where_a_cut_falls_between_them():
    # Long enough that numpy's default sort is not stable.
    counts = np.tile([7, 9], 50)
    order = rank_order(counts)
    assert order.tolist() == [*range(1, 100, 2), *range(0, 100, 2)]
    assert head_mid_tail(counts, (10, 60))["mid"].tolist() == [*range(21, 100, 2), *range(0, 20, 2)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_the_type_of_the_counts_does_not_matter(dtype):
    assert rank_order(np.array([0, 200, 3], dtype=dtype)).tolist() == [1, 2, 0]


@pytest.mark.parametrize("name", PAPER_BOUNDARIES)
def test_paper_boundaries_give_the_published_group_sizes(name):
    counts = np.arange(sum(PAPER_SIZES[name]), 0, -1)
    assert tuple(len(members) for members in head_mid_tail(counts, name).values()) == PAPER_SIZES[name]


def test_the_threshold_rule_gives_the_published_cifar100_sizes():
    # 500 * rho^(-c / 99), rounded down: the CIFAR-100-LT splits.
    sizes = {}
    for rho in (100, 50, 10):
        counts = [int(500 * rho ** (-c / 99)) for c in range(100)]
        sizes[rho] = tuple(len(members) for members in many_medium_few(counts).values())
    assert sizes == {100: (35, 35, 30), 50: (41, 41, 18), 10: (69, 31, 0)}


@pytest.mark.parametrize("num_classes", [1, 2, 3, 4, 5, 10, 37])
def test_every_class_is_in_exactly_one_group_of_each_rule(num_classes):
    counts = np.random.default_rng(num_classes).integers(0, 200, num_classes)
    for groups in (head_mid_tail(counts), many_medium_few(counts)):
        assert sorted(np.concatenate(list(groups.values())).tolist()) == list(range(num_classes))


def test_thirds_of_few_classes():
    assert as_lists(head_mid_tail([1])) == {"head": [], "mid": [0], "tail": []}
    assert as_lists(head_mid_tail([1, 2])) == {"head": [1], "mid": [], "tail": [0]}
    assert as_lists(head_mid_tail([1, 2, 3])) == {"head": [2], "mid": [1], "tail": [0]}


@pytest.mark.parametrize(
    ("boundaries", "says"),
    [
        ("cifar100_lt", "are for 100 classes, the data has 10"),
        ("cifar", "no boundaries are named 'cifar'; known: cifar10_lt"),
        ((0, 5), "0 < first < second < 10"),
        ((5, 5), "0 < first < second < 10"),
        ((5, 10), "0 < first < second < 10"),
        ((3,), "two whole numbers"),
        ((3.5, 7), "two whole numbers"),
    ],
)
def test_boundaries_that_do_not_fit_are_refused_in_one_line(boundaries, says):
    with pytest.raises(ValueError, match=says) as error:
        head_mid_tail(range(10), boundaries)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("counts", [[], [[1, 2]], ["a", "b"], 5])
def test_counts_must_be_a_list_of_numbers(counts):
    with pytest.raises(ValueError, match="one number per class"):
        rank_order(counts)


@pytest.mark.parametrize("count", [-1, float("nan"), float("inf")])
def test_an_impossible_count_is_named(count):
    with pytest.raises(ValueError, match="class 1 has the impossible count"):
        many_medium_few([3, count, 2])


def test_imbalance_ratio():
    assert imbalance_ratio([50, 5000, 80]) == 100
    assert imbalance_ratio([7, 7]) == 1
    with pytest.raises(ValueError, match="class 1 has no training images"):
        imbalance_ratio([5, 0])


def test_the_rule_names_the_ranks():
    thresholds = "many/medium/few: >100, 20-100, <20 training images"
    assert group_rule(range(10)) == f"head/mid/tail: ranks 1-3, 4-7, 8-10 by training count; {thresholds}"
    assert group_rule(range(10), (1, 9)) == f"head/mid/tail: ranks 1, 2-9, 10 by training count; {thresholds}"
    assert group_rule([4, 5]).startswith("head/mid/tail: ranks 1, none, 2 by")
