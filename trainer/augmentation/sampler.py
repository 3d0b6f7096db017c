"""Which image comes when: one global order per epoch, the same on every rank, which Accelerate then shards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class TrainingSampler(Sampler):
    """Shuffled rows, with repeated augmentation: each image that is drawn comes `repeats` times in a row.

    Repeated augmentation (Hoffer et al. 2020; Berman et al. 2019), as DeiT and DeiT-LT use it: an epoch has as many
    samples as the data set has rows but only about a third as many distinct images, three views of each. Unlike the
    official sampler it keeps exactly N samples (not a multiple of 256, which is none for N < 256), moves on each epoch
    without a launcher too, and is global: Accelerate gives each rank its batches, so nothing is sharded twice.

    Args:
        num_rows: N, rows of the data set.
        repeats: views of an image per draw; 1 is plain shuffling. Default 3 (the paper's).
        seed: the order is a function of (seed, epoch). Default 0.

    Yields:
        (row, epoch, position in the epoch), the key that `TrainingImages` draws its augmentation from.
    """

    def __init__(self, num_rows: int, repeats: int = 3, seed: int = 0):
        if num_rows < 1 or repeats < 1:
            raise ValueError(f"the sampler needs at least one row and one repeat, got {num_rows} and {repeats}")
        self.num_rows = num_rows
        self.repeats = repeats
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Move to an epoch (0-based); Trainer calls it through the data loader."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_rows

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        rows = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_rows)
        rows = rows.repeat(self.repeats)[: self.num_rows].tolist()
        return iter([(row, self.epoch, position) for position, row in enumerate(rows)])
