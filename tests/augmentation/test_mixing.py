"""Batch mixing: what is mixed, the labels, odd batches and the seed."""

import numpy as np
import pytest
import torch
from timm.data import Mixup

from trainer.augmentation import BatchMixing
from trainer.augmentation.mixing import mirrored


def batch(size, classes=4):
    """Images whose pixels name their row, so that a mix shows its share."""
    images = torch.arange(size, dtype=torch.float32).view(-1, 1, 1, 1).expand(size, 3, 8, 8).contiguous()
    return images, torch.arange(size) % classes


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_labels_say_what_was_mixed(size):
    images, labels = batch(size, classes=8)
    mixed, targets = BatchMixing(8, cutmix_alpha=0.0, label_smoothing=0.0)(images.clone(), labels, step=3)
    rows = torch.arange(size, dtype=torch.float32)
    torch.testing.assert_close(mixed[:, 0, 0, 0], targets[:, :size] @ rows)
    torch.testing.assert_close(targets.sum(-1), torch.ones(size))


def test_neighbours_are_mixed_and_the_shares_of_ranks_mix_alone():
    """The mix of a batch is the mixes of its parts, as long as these are even: they have the same draw."""
    images, labels = batch(12, classes=12)
    for seed in range(8):  # Mixup and CutMix
        mixing = BatchMixing(12, label_smoothing=0.0, seed=seed)
        mixed, targets = mixing(images, labels, step=1)
        for row, target in zip(mixed, targets, strict=True):
            classes = target.nonzero().flatten().tolist()
            assert classes[0] // 2 == classes[-1] // 2  # 0 and 1, or 2 and 3, ...
            assert row.mean().item() == pytest.approx((target @ torch.arange(12.0)).item(), abs=1e-4)
        parts = [mixing(images[rows], labels[rows], step=1) for rows in (slice(0, 4), slice(4, 10), slice(10, 12))]
        for whole, shares in zip((mixed, targets), zip(*parts, strict=True), strict=True):
            assert sorted(whole.flatten(1).tolist()) == sorted(torch.cat(shares).flatten(1).tolist())


def test_cutmix_share_is_the_pasted_area():
    images, labels = batch(2, classes=2)
    for step in range(20):
        mixed, targets = BatchMixing(2, mixup_alpha=0.0, label_smoothing=0.0)(images.clone(), labels, step)
        assert mixed[0].mean().item() == pytest.approx(targets[0, 1].item(), abs=1e-6)


def test_equals_timm_under_the_same_draws():
    images, labels = batch(6)
    ours = BatchMixing(4, seed=5)(images.clone(), labels, step=7, micro_step=1)
    state = np.random.get_state()
    np.random.seed(np.random.SeedSequence((5, 7, 1)).generate_state(3)[1])
    theirs = Mixup(0.8, 1.0, label_smoothing=0.1, num_classes=4)(mirrored(images), mirrored(labels))
    np.random.set_state(state)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_last_image_of_an_odd_batch_stays_and_is_smoothed():
    images, labels = batch(5)
    mixed, targets = BatchMixing(4)(images.clone(), labels, step=0)
    assert torch.equal(mixed[4], images[4])
    torch.testing.assert_close(targets[4], torch.tensor([0.925, 0.025, 0.025, 0.025]))


def test_without_mixing_only_labels_are_smoothed():
    images, labels = batch(4)
    mixed, targets = BatchMixing(4, probability=0.0)(images.clone(), labels, step=0)
    assert torch.equal(mixed, mirrored(images))  # rows 0, 2, 3, 1
    torch.testing.assert_close(targets[3], torch.tensor([0.025, 0.925, 0.025, 0.025]))


def test_draws_depend_on_seed_step_and_micro_step_alone():
    def draw(seed, step, micro_step):
        return BatchMixing(4, seed=seed)(*map(torch.clone, batch(4)), step, micro_step)[1]

    first = draw(0, 5, 0)
    np.random.rand(10)
    assert torch.equal(first, draw(0, 5, 0))
    for other in ((1, 5, 0), (0, 6, 0), (0, 5, 1)):
        assert not torch.equal(first, draw(*other))


def test_the_running_generators_do_not_notice():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    BatchMixing(4)(*batch(4), step=0)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
