"""The training order: repeated augmentation for every size, the official batches, and its shards."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler

from trainer.augmentation import TrainingSampler
from trainer.augmentation.mixing import mirrored
from trainer.augmentation.sampler import as_partners
from trainer.errors import DataError


@pytest.mark.parametrize("rows", [1, 2, 10, 255, 256, 1001])
@pytest.mark.parametrize("repeats", [1, 3])
def test_an_epoch_has_n_samples_of_a_third_of_the_images(rows, repeats):
    keys = list(TrainingSampler(rows, 16, repeats))
    assert len(keys) == len(TrainingSampler(rows, 16, repeats)) == rows
    views = Counter(row for row, _, _ in keys)
    assert len(views) == -(-rows // repeats)
    assert set(views.values()) <= {repeats, rows % repeats or repeats}
    assert sorted(position for _, _, position in keys) == list(range(rows))


def test_a_pair_of_batches_is_dealt_in_turn():
    """Positions 0, 2, 4, ... of each pair, then 1, 3, 5, ...; the views of a row have three positions in a row."""
    keys = list(TrainingSampler(22, 4, 3))
    assert [position for _, _, position in keys[:8]] == [0, 2, 4, 6, 1, 3, 5, 7]
    assert [position for _, _, position in keys[16:]] == [16, 18, 20, 17, 19, 21]  # what is left of a pair
    rows = {position: row for row, _, position in keys}
    assert all(rows[position] == rows[position // 3 * 3] for position in rows)


def test_without_repeats_the_order_is_the_permutation():
    assert [position for _, _, position in TrainingSampler(100, 8, 1)] == list(range(100))


def official_batches(sampler, ranks, batch_size):
    """The rule of the official sampler: rank r of R takes the positions r, r + R, ... and makes batches of them.

    The permutation is ours, since theirs comes from another generator.
    """
    rows = {position: row for row, _, position in sampler}
    shares = [[rows[p] for p in range(r, len(sampler), ranks)] for r in range(ranks)]
    return [share[i : i + batch_size] for share in shares for i in range(0, len(share), batch_size)]


def settings(batch_size, ranks, repeats):
    """The arguments of a run that leaves out what does not fill a batch."""
    shape = {"train_batch_size": batch_size, "world_size": ranks, "repeats": repeats}
    return SimpleNamespace(**shape, seed=0, drop_partial_batches=True, mixes=True)


# CIFAR-10-LT and CIFAR-100-LT, rho 100, 50 and 10; from 64 to 207 images do not fill a pair of batches.
OFFICIAL = [12_406, 13_996, 20_431, 10_847, 12_608, 19_573]


@pytest.mark.parametrize("rows", OFFICIAL)
def test_batches_of_a_rank_are_those_of_the_official_two_gpus(rows):
    sampler = TrainingSampler.for_run(settings(128, 1, repeats=3), rows)
    assert len(sampler) == rows // 256 * 256  # samples of an epoch in the official code
    ours = [sorted(row for row, *_ in batch) for batch in BatchSampler(sampler, 128, drop_last=False)]
    theirs = [sorted(batch) for batch in official_batches(sampler, 2, 128)]
    assert sorted(ours) == sorted(theirs)
    assert {len(set(batch)) for batch in ours} <= {85, 86, 87}  # 43 with all views of an image in one batch


@pytest.mark.parametrize("rows", OFFICIAL)
def test_two_ranks_share_the_images_of_the_official_steps_in_other_halves(rows):
    """The partners of mixing stay on one rank, so each half holds as many distinct images, but other ones."""
    sampler = TrainingSampler.for_run(settings(128, 2, repeats=3), rows)
    assert len(sampler) == rows // 256 * 256
    ours = [[row for row, *_ in batch] for batch in BatchSampler(sampler, 128, drop_last=False)]
    theirs = official_batches(sampler, 2, 128)
    assert sorted(row for batch in ours for row in batch) == sorted(row for batch in theirs for row in batch)
    assert {len(set(batch)) for batch in ours} <= {84, 85, 86, 87, 88}


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_partners_are_those_that_timm_mixes(size):
    """First with last, second with last but one; `mirrored` gives the old order back."""
    batch = torch.arange(size)
    ordered = torch.from_numpy(as_partners(batch.numpy()))
    assert torch.equal(mirrored(ordered), batch)
    even = size // 2 * 2
    assert ordered[:even].view(-1, 2).sum(1).tolist() == [even - 1] * (even // 2)
    in_order, in_pairs = (list(TrainingSampler(30, 8, partners=partners)) for partners in (False, True))
    for start in range(0, 30, 8):
        expected = [in_order[start:][place] for place in as_partners(torch.arange(min(8, 30 - start)).numpy())]
        assert in_pairs[start : start + 8] == expected


@pytest.mark.parametrize("partners", [False, True])
def test_a_rank_holds_whole_pairs(partners):
    sampler = TrainingSampler(48, 24, 3, partners=partners)
    one = [batch[i : i + 2] for batch in BatchSampler(sampler, 24, False) for i in range(0, 24, 2)]
    shards = [batch for rank in range(3) for batch in BatchSamplerShard(BatchSampler(sampler, 8, False), 3, rank)]
    several = [batch[i : i + 2] for batch in shards for i in range(0, 8, 2)]
    assert sorted(one) == sorted(several)


@pytest.mark.parametrize("repeats", [1, 3])
def test_order_is_a_function_of_seed_and_epoch(repeats):
    def order(seed, epoch):
        sampler = TrainingSampler(50, 8, repeats, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 4) == order(0, 4)
    assert [k[0] for k in order(0, 4)] != [k[0] for k in order(0, 5)]
    assert [k[0] for k in order(0, 4)] != [k[0] for k in order(1, 4)]
    assert order(0, 4)[0][1] == 4


def test_a_key_does_not_depend_on_the_batch_size():
    """Row and position, and with them the augmented image: only when it comes does."""
    assert sorted(TrainingSampler(500, 8)) == sorted(TrainingSampler(500, 64))
    assert list(TrainingSampler(500, 8)) != list(TrainingSampler(500, 64))


def test_over_epochs_every_image_comes_up():
    sampler, seen = TrainingSampler(60, 8, multiple_of=16), set()
    for epoch in range(30):  # each epoch misses an image with probability 3/4 at most: 60 * (3/4)**30 = 0.01 expected
        sampler.set_epoch(epoch)
        seen |= {row for row, _, _ in sampler}
    assert len(seen) == 60


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_epoch_without_loss(ranks):
    """The global batch of a step is the same images on one rank with the larger batch and on several."""
    sampler = TrainingSampler(24 * ranks, 4 * ranks, 3)
    one = list(BatchSampler(sampler, 4 * ranks, drop_last=False))
    shards = [list(BatchSamplerShard(BatchSampler(sampler, 4, False), ranks, rank)) for rank in range(ranks)]
    for step, batch in enumerate(one):
        assert sorted(batch) == sorted(key for shard in shards for key in shard[step])


def test_two_ranks_have_the_batches_of_one_at_the_same_optimiser_step():
    """128 images x 8 accumulated on one GPU, 128 x 4 on two: the same eight batches, dealt in another order."""
    one = [sorted(b) for b in BatchSampler(TrainingSampler(4_096, 128), 128, False)]
    two = [sorted(b) for b in BatchSampler(TrainingSampler(4_096, 256), 128, False)]
    for step in range(4):
        assert sorted(one[8 * step : 8 * step + 8]) == sorted(two[8 * step : 8 * step + 8])


@pytest.mark.parametrize(("rows", "accumulated"), [(48, 1), (43, 1), (34, 1), (43, 2), (33, 2), (5, 1)])
def test_ranks_count_each_image_of_an_epoch_once(rows, accumulated):
    """What counts of each rank's batches is the epoch, and the weights of a batch's means are its images' shares."""
    sampler = TrainingSampler(rows, 16, 3, partners=True)
    shards = [list(BatchSamplerShard(BatchSampler(sampler, 8, False), 2, rank)) for rank in range(2)]
    counted = []
    for batch in range(len(shards[0])):
        kept, weights = [], []
        for rank in range(2):
            shape = {"train_batch_size": 8, "world_size": 2, "gradient_accumulation_steps": accumulated}
            args = SimpleNamespace(**shape, process_index=rank)
            step = 3 * -(-len(shards[0]) // accumulated) + batch // accumulated  # of the fourth epoch
            size, weight = sampler.share_of_rank(args, step, batch % accumulated)
            assert 1 <= size <= 8
            kept.append(shards[rank][batch][:size] if weight else [])
            weights.append(weight)
        counted += kept[0] + kept[1]
        assert weights == [2 * len(part) / len(kept[0] + kept[1]) for part in kept]
    assert sorted(counted) == sorted(sampler)


@pytest.mark.parametrize("arguments", [(0, 8, 3), (5, 0, 3), (5, 8, 0), (5, 8, 3, 0, 0)])
def test_nothing_to_draw_is_refused(arguments):
    with pytest.raises(ValueError, match="at least one"):
        TrainingSampler(*arguments)


@pytest.mark.parametrize(("repeats", "ranks"), [(3, 1), (1, 2), (3, 2)])
def test_too_few_images_for_a_whole_batch_are_refused(repeats, ranks):
    args = settings(8, ranks, repeats)
    with pytest.raises(DataError, match="multiples of 16 images, which leaves none of 15"):
        TrainingSampler.for_run(args, 15)
    assert len(TrainingSampler.for_run(args, 16)) == 16


def test_whole_batches_without_repeats():
    for ranks, whole in ((1, 96), (3, 96), (4, 96), (5, 80)):
        sampler = TrainingSampler.for_run(settings(8, ranks, repeats=1), 100)
        assert len(sampler) == len({row for row, *_ in sampler}) == whole


def test_an_epoch_that_is_set_reaches_the_workers():
    from torch.utils.data import DataLoader

    sampler = TrainingSampler(6, 2, 1)
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
