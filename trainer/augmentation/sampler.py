"""Sampler: one global order of the images per epoch, the same on every rank, which Accelerate then shards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from trainer.errors import DataError


class ImageKey(NamedTuple):
    """What is asked of the training images: a row, and what its augmentation is drawn from together with the seed."""

    row: int
    epoch: int
    position: int  # in the epoch


class TrainingSampler(Sampler):
    """Shuffled rows, with repeated augmentation: each image that is drawn comes `repeats` times.

    Repeated augmentation (Hoffer et al. 2020; Berman et al. 2019), as DeiT and DeiT-LT use it: an epoch has as many
    samples as the data set has rows but only about a third as many distinct images, three views of each. The official
    code deals neighbouring views out to its two GPUs in turn, so that a batch of 128 holds 86 distinct images; here
    they are dealt out to two successive batches in turn, which gives the same batches on one rank and on any even
    number of them. Were the views of an image all in one batch, that would hold 43, and in DRW a rare class would be
    weighed against itself. Without accumulation on one rank the two batches belong to two optimiser steps.

    For mixing, each batch over all ranks comes as neighbours that are mixed with one another (`partners`): the first
    with the last, the second with the last but one, as timm pairs them. So the share of each rank holds whole pairs,
    and an image's partner does not depend on the number of ranks, as long as a rank's batch is even.

    The official sampler does not move on without a launcher; this one moves on each epoch. It is global: Accelerate
    gives each rank its batches, so nothing is sharded twice.

    Args:
        num_rows: N, rows of the data set.
        batch_size: images of one batch over all ranks, without accumulation.
        repeats: views of an image per draw; 1 is plain shuffling. Default 3 (the paper's).
        seed: the order is a function of (seed, epoch). Default 0.
        multiple_of: an epoch has the largest number of samples up to N that is a multiple of it. Default 1, all N;
            the official code's 256.
        partners: order each batch for `BatchMixing`. Default False.

    Yields:
        `ImageKey`s. Their position is the one before dealing and pairing, so that the augmentation does not depend on
        the batch size.

    Raises:
        ValueError: no row, no repeat, no image in a batch or a multiple below 1.
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        repeats: int = 3,
        seed: int = 0,
        multiple_of: int = 1,
        partners: bool = False,
    ):
        if min(num_rows, batch_size, repeats, multiple_of) < 1:
            raise ValueError(
                f"the sampler needs at least one row, one image in a batch, one repeat and a multiple of 1, got "
                f"{num_rows}, {batch_size}, {repeats} and {multiple_of}"
            )
        self.num_rows = num_rows
        self.batch_size = batch_size
        self.repeats = repeats
        self.seed = seed
        self.multiple_of = multiple_of
        self.partners = partners
        self.epoch = 0

    @classmethod
    def for_run(cls, args, num_rows: int) -> TrainingSampler:
        """The order of a run's images; with `drop_partial_batches` whole batches, with repeats whole pairs of them.

        On one rank a pair takes two batches; the batch of two ranks, or of any even number, holds whole pairs.

        Args:
            args: `RunArguments` with `repeats`, views of an image per draw, and `mixes`, whether batches are mixed.
            num_rows: N.

        Raises:
            DataError: no whole batch, or pair of them, is there.
        """
        batch_size = args.train_batch_size * args.world_size
        whole = max(batch_size, 2 * args.train_batch_size) if args.repeats > 1 else batch_size
        if args.drop_partial_batches and num_rows < whole:
            raise DataError(
                f"drop_partial_batches keeps multiples of {whole} images, which leaves none of {num_rows} training "
                "images; lower the batch size or unset it"
            )
        multiple_of = whole if args.drop_partial_batches else 1
        return cls(num_rows, batch_size, args.repeats, args.seed, multiple_of, args.mixes)

    def share_of_rank(self, args, step: int, place: int) -> tuple[int, float]:
        """Rows of a rank's batch that count, and the weight of their mean in the mean over the ranks.

        All and 1, but for the last batch of an epoch: Accelerate fills it up with images of the first one, which one
        rank alone would not see. A rank without any keeps a row, whose loss counts nothing: its gradients are waited
        for.

        Args:
            args: of the run.
            step: optimiser step of the run, 0-based.
            place: of the batch in the accumulation of that step.
        """
        steps = -(-len(self) // (self.batch_size * args.gradient_accumulation_steps))  # of an epoch
        batch = step % steps * args.gradient_accumulation_steps + place
        left = len(self) - batch * self.batch_size
        rows = min(max(left - args.process_index * args.train_batch_size, 0), args.train_batch_size)
        return max(rows, 1), rows * args.world_size / min(left, self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Move to an epoch (0-based); Trainer calls it through the data loader."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_rows // self.multiple_of * self.multiple_of

    def rows(self, epoch: int) -> np.ndarray:
        """The row of the image at each position of an epoch."""
        rows = np.random.default_rng((self.seed, epoch)).permutation(self.num_rows)
        return rows.repeat(self.repeats)[: len(self)]

    def __iter__(self) -> Iterator[ImageKey]:
        epoch = self.epoch
        rows, positions = self.rows(epoch), self._dealt()
        # A batch at a time: the keys of a million images would be 150 MB.
        for batch in np.split(positions, range(self.batch_size, len(self), self.batch_size)):
            batch = as_partners(batch) if self.partners else batch
            for row, position in zip(rows[batch].tolist(), batch.tolist(), strict=True):
                yield ImageKey(row, epoch, position)

    def _dealt(self) -> np.ndarray:
        """The positions 0, 2, 4, ... of each pair of batches, then 1, 3, 5, ...; as they are without repeats."""
        positions = np.arange(len(self))
        if self.repeats == 1:
            return positions
        pairs = np.split(positions, range(2 * self.batch_size, len(self), 2 * self.batch_size))
        return np.concatenate([half for pair in pairs for half in (pair[::2], pair[1::2])])


def as_partners(batch: np.ndarray) -> np.ndarray:
    """A batch in the order first, last, second, last but one, ...; the last image of an odd one stays where it is."""
    even = len(batch) // 2 * 2
    result = batch.copy()
    result[:even:2], result[1:even:2] = batch[: even // 2], batch[even // 2 : even][::-1]
    return result
