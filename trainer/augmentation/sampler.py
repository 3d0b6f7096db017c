"""Which image comes when: one global order per epoch, the same on every rank, which Accelerate then shards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class TrainingSampler(Sampler):
    """Shuffled rows, with repeated augmentation: each image that is drawn comes `repeats` times.

    Repeated augmentation (Hoffer et al. 2020; Berman et al. 2019), as DeiT and DeiT-LT use it: an epoch has as many
    samples as the data set has rows but only about a third as many distinct images, three views of each. The official
    code deals neighbouring views out to its two GPUs in turn, so that a batch of 128 holds 86 distinct images; here
    they are dealt out to two successive batches in turn, which gives the same batches on any number of ranks. Were the
    views of an image all in one batch, that would hold 43, and in DRW a rare class would be weighed against itself.
    Without accumulation on one rank the two batches belong to two optimiser steps.

    The official sampler does not move on without a launcher; this one moves on each epoch. It is global: Accelerate
    gives each rank its batches, so nothing is sharded twice.

    Args:
        num_rows: N, rows of the data set.
        batch_size: images of one batch over all ranks, without accumulation.
        repeats: views of an image per draw; 1 is plain shuffling. Default 3 (the paper's).
        seed: the order is a function of (seed, epoch). Default 0.
        drop_last: leave out the samples that do not fill the last pair of batches (with repeats of 1, the last
            batch): with batches of 128 the official N // 256 * 256. Default False.

    Yields:
        (row, epoch, position in the epoch), the key that `TrainingImages` draws its augmentation from. The position is
        the one before dealing, so that the augmentation does not depend on the batch size.

    Raises:
        ValueError: no row, no repeat or no image in a batch.
    """

    def __init__(self, num_rows: int, batch_size: int, repeats: int = 3, seed: int = 0, drop_last: bool = False):
        if num_rows < 1 or batch_size < 1 or repeats < 1:
            raise ValueError(
                f"the sampler needs at least one row, one image in a batch and one repeat, got {num_rows}, "
                f"{batch_size} and {repeats}"
            )
        self.num_rows = num_rows
        self.batch_size = batch_size
        self.repeats = repeats
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Move to an epoch (0-based); Trainer calls it through the data loader."""
        self.epoch = epoch

    def __len__(self) -> int:
        block = self.batch_size if self.repeats == 1 else 2 * self.batch_size
        return self.num_rows // block * block if self.drop_last else self.num_rows

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        rows = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_rows)
        rows = rows.repeat(self.repeats)[: len(self)].tolist()
        return iter([(rows[position], self.epoch, position) for position in self._dealt()])

    def _dealt(self) -> list[int]:
        """The positions 0, 2, 4, ... of each pair of batches, then 1, 3, 5, ...; as they are without repeats."""
        positions = np.arange(len(self))
        if self.repeats == 1:
            return positions.tolist()
        pairs = np.split(positions, range(2 * self.batch_size, len(self), 2 * self.batch_size))
        return np.concatenate([half for pair in pairs for half in (pair[::2], pair[1::2])]).tolist()
