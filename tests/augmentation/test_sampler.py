"""The training order: repeated augmentation for every size, and its shards."""

from collections import Counter

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler

from trainer.augmentation import TrainingSampler


@pytest.mark.parametrize("rows", [1, 2, 10, 255, 256, 1001])
@pytest.mark.parametrize("repeats", [1, 3])
def test_an_epoch_has_n_samples_of_a_third_of_the_images(rows, repeats):
    keys = list(TrainingSampler(rows, repeats))
    assert len(keys) == len(TrainingSampler(rows, repeats)) == rows
    views = Counter(row for row, _, _ in keys)
    assert len(views) == -(-rows // repeats)
    assert set(views.values()) <= {repeats, rows % repeats or repeats}
    assert [position for _, _, position in keys] == list(range(rows))


def test_views_of_an_image_are_neighbours():
    rows = [row for row, _, _ in TrainingSampler(9, 3)]
    assert rows[0] == rows[1] == rows[2] != rows[3]


def test_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        sampler = TrainingSampler(50, 3, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 4) == order(0, 4)
    assert [k[0] for k in order(0, 4)] != [k[0] for k in order(0, 5)]
    assert [k[0] for k in order(0, 4)] != [k[0] for k in order(1, 4)]
    assert order(0, 4)[0][1] == 4


def test_over_epochs_every_image_comes_up():
    sampler, seen = TrainingSampler(60, 3), set()
    for epoch in range(20):  # each epoch misses an image with probability 2/3: 60 * (2/3)**20 = 0.02 expected
        sampler.set_epoch(epoch)
        seen |= {row for row, _, _ in sampler}
    assert len(seen) == 60


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_epoch_without_loss(ranks):
    """The global batch of a step is the same images on one rank with the larger batch and on several."""
    one = list(BatchSampler(TrainingSampler(24 * ranks, 3), 4 * ranks, drop_last=False))
    shards = [
        list(BatchSamplerShard(BatchSampler(TrainingSampler(24 * ranks, 3), 4, False), ranks, rank))
        for rank in range(ranks)
    ]
    for step, batch in enumerate(one):
        assert sorted(batch) == sorted(key for shard in shards for key in shard[step])


@pytest.mark.parametrize("arguments", [(0, 3), (5, 0)])
def test_nothing_to_draw_is_refused(arguments):
    with pytest.raises(ValueError, match="at least one"):
        TrainingSampler(*arguments)


def test_trainer_moves_the_epoch_on_and_workers_see_it():
    from torch.utils.data import DataLoader

    sampler = TrainingSampler(6, 1)
    loader = DataLoader(_Echo(), batch_size=2, sampler=sampler, num_workers=1, persistent_workers=True)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(torch.cat(list(loader)).tolist())
    assert epochs == [[0] * 6, [1] * 6, [2] * 6]


class _Echo(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, key):
        return key[1]
