"""Effective-number weights against the published values."""

import pytest
import torch

from trainer.reweighting import effective_number_weights

CIFAR10_LT = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_weights_of_cifar10_lt_are_the_official_codes():
    expected = [0.051, 0.077, 0.121, 0.195, 0.319, 0.525, 0.868, 1.443, 2.409, 3.993]
    torch.testing.assert_close(effective_number_weights(CIFAR10_LT), torch.tensor(expected), atol=5e-4, rtol=0)


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999])
def test_weights_sum_to_the_number_of_classes(beta):
    assert effective_number_weights(CIFAR10_LT, beta).sum().item() == pytest.approx(10, abs=1e-4)


def test_three_numbers_by_hand():
    raw = [(1 - 0.9) / (1 - 0.9**n) for n in (3, 2, 1)]
    expected = torch.tensor([3 * value / sum(raw) for value in raw])
    torch.testing.assert_close(effective_number_weights([3, 2, 1], 0.9), expected)


def test_an_empty_class_is_named():
    with pytest.raises(ValueError, match="class 1 has no training image"):
        effective_number_weights([5, 0, 3])


@pytest.mark.parametrize("beta", [1.0, -0.1])
def test_beta_out_of_range_is_refused(beta):
    with pytest.raises(ValueError, match="beta"):
        effective_number_weights([5, 3], beta)
