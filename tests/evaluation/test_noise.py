"""What chance leaves of a figure, against binomial draws and sums by hand."""

import numpy as np
import pytest

from trainer.evaluation.noise import effective_images, margin, paired_difference


def test_images_count_by_the_smallest_classes():
    assert effective_images([0, 0, 1, 1, 2, 2]) == pytest.approx(6)
    # Two classes: the variance of the mean is (s/100 + s/4) / 4 = s / 15.4.
    assert effective_images([0] * 100 + [3] * 4) == pytest.approx(4 / (1 / 100 + 1 / 4))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_the_interval_holds_the_truth_in_19_of_20_splits(share):
    """At 30 images the binomial's steps make the coverage uneven, hence from 92 %; two-thousand draws add 1 %."""
    found = np.random.default_rng(0).binomial(30, share, 2000) / 30
    middle = (found * 30 + 2) / 34
    holds = [abs(m - share) * 100 <= margin(100 * f, 30) for f, m in zip(found, middle, strict=True)]
    assert np.mean(holds) > 0.92


def test_the_interval_has_a_width_where_all_or_nothing_is_right():
    assert margin(0, 5) == margin(100, 5) > 25
    assert margin(50, 400) == pytest.approx(5, abs=0.05)  # 2 * sqrt(0.25 / 400)


def test_a_paired_difference_is_mcnemars_on_a_balanced_split():
    labels = np.repeat([0, 1], 10)
    first, second = labels.copy(), labels.copy()
    first[:1] = 1  # the second alone is right on 1 image, the first alone on 5
    second[10:15] = 0
    difference, error = paired_difference(first, second, labels)
    assert difference == pytest.approx(100 * (5 - 1) / 20)
    assert difference / error == pytest.approx((5 - 1) / np.sqrt(5 + 1))


def test_a_paired_difference_counts_classes_equally():
    labels = np.array([0] * 8 + [1] * 2)
    second = labels.copy()
    second[8] = 0  # half of a class of two
    assert paired_difference(labels, second, labels)[0] == pytest.approx(25)
    assert paired_difference(labels, labels, labels) == (0, 0)
