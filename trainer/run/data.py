"""First step of a run: its data, checked, with what every later step asks of them."""

from __future__ import annotations

import hashlib
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from accelerate.utils import gather_object
from datasets import Dataset, DatasetDict, disable_progress_bars

from trainer.arguments import SOURCES, DataArguments
from trainer.augmentation import TrainingSampler
from trainer.base_arguments import RunArguments
from trainer.data import (
    RGB,
    UNDECODABLE,
    Fingerprint,
    PixelFormat,
    check_all_images,
    check_dataset,
    class_counts,
    fingerprint,
    label_values,
    load_long_tailed,
    pixel_format,
    stratified_split,
)
from trainer.errors import DataError
from trainer.evaluation import group_rule, head_mid_tail
from trainer.machine import MOST_WORKERS
from trainer.ranks import from_first_rank
from trainer.settings import deciding_settings


@dataclass(frozen=True)
class RunData:
    """The images of a run.

    Attributes:
        splits: `train`, `test` and perhaps `validation`, with the columns `image` and `label`.
        settings: what was asked for.
        pixels: of the images.
    """

    splits: DatasetDict
    settings: DataArguments
    pixels: PixelFormat = RGB

    def with_pixels(self, pixels: PixelFormat) -> RunData:
        """The same data of that format, with what was computed already."""
        other = copy(self)
        object.__setattr__(other, "pixels", pixels)
        return other

    @property
    def train(self) -> Dataset:
        """The training images."""
        return self.splits["train"]

    @property
    def names(self) -> list[str]:
        """(C,) the classes in the data's order."""
        return self.train.features["label"].names

    @cached_property
    def counts(self) -> list[int]:
        """(C,) training images per class."""
        return class_counts(self.train).tolist()

    @property
    def groups(self) -> str:
        """The rules by which head, mid and tail are cut, in words."""
        return group_rule(self.counts, self.settings.boundaries)

    @cached_property
    def fingerprints(self) -> dict[str, Fingerprint]:
        """Of the images of each split."""
        folder = Path(self.settings.dataset).expanduser()
        return {split: fingerprint(dataset, folder) for split, dataset in self.splits.items()}

    @cached_property
    def digest(self) -> str:
        """Of what a teacher and its figures depend on: which images, their names and sizes, and the label of each."""
        settings = deciding_settings(self.settings)
        for name in set(SOURCES) - {"dataset"}:
            settings.pop(name)  # what they name is in the images, their labels and classes
        if self.settings.dataset != "digits" and Path(self.settings.dataset).expanduser().is_dir():
            settings["dataset"] = "a folder"  # the same images wherever they lie
        digest = hashlib.sha256(repr((sorted(settings.items()), self.names)).encode())
        if self.settings.pixel_normalization == "data":  # other values of one size in bytes may have the same names
            digest.update(repr((self.pixels.bits, np.round([self.pixels.mean, self.pixels.std], 6).tolist())).encode())
        for split in ("train", "test"):
            digest.update(label_values(self.splits[split]).tobytes())
            digest.update(self.fingerprints[split].images.encode())
        return digest.hexdigest()


def prepare_data(settings: DataArguments, args: RunArguments, validation: bool = False) -> RunData:
    """Load, cut and check the data; rank 0 goes first, so that caches are written once.

    Args:
        settings: which images.
        args: of the run, for its ranks and batches.
        validation: hold `validation_fraction` of the training images out as the split `validation`. Default False.

    Raises:
        DataError: one line on what is wrong with the data, or which setting they cannot have.
    """
    disable_progress_bars()
    try:
        with args.main_process_first(desc="loading the data"):
            splits = load_data(settings)
            check_dataset(splits, decode_images=False)
            data = whole = RunData(splits, settings)
            if validation:
                fraction, seed = settings.validation_fraction, settings.split_seed
                train, held_out = stratified_split(splits["train"], fraction, seed=seed)
                data = RunData(DatasetDict(train=train, validation=held_out, test=splits["test"]), settings)
        _refuse_other_images(data)
        head_mid_tail(data.counts, settings.boundaries)
        TrainingSampler.for_run(args, len(data.train))
        if settings.check_images:  # last, since it takes longest
            from_first_rank(lambda: _check_images(whole, args))  # as `check-data` remembers it
        return data.with_pixels(from_first_rank(lambda: _pixels(data, args)))
    except ValueError as error:  # a setting that these data cannot have, such as a rho below 1
        raise DataError(str(error)) from error


def _check_images(data: RunData, args: RunArguments) -> None:
    """Decode every image, unless it was done before; those that cannot be are listed in the output folder."""
    file = Path(args.output_dir, UNDECODABLE)
    file.unlink(missing_ok=True)
    try:
        states = {split: found.state for split, found in data.fingerprints.items()}
    except DataError:  # a file is gone: the check names all that are
        states = None
    check_all_images(data.splits, MOST_WORKERS, data.settings.num_channels, states, file, show=_shows(args))


def _pixels(data: RunData, args: RunArguments) -> PixelFormat:
    settings = data.settings
    if settings.pixel_normalization == "imagenet":
        return RGB
    state = data.fingerprints["train"].state
    return pixel_format(data.train, settings.num_channels, MOST_WORKERS, state, show=_shows(args))


def _shows(args: RunArguments) -> bool:
    return not (args.quiet or args.disable_tqdm)


def _refuse_other_images(data: RunData) -> None:
    """Ranks that read their images from several disks must find the same ones."""
    labels = b"|".join(label_values(data.splits[name]).tobytes() for name in sorted(data.splits))
    digests = gather_object([hashlib.sha256(repr(data.names).encode() + labels).hexdigest()])
    for rank, digest in enumerate(digests):
        if digest != digests[0]:
            raise DataError(
                f"the images of process {rank} are not those of process 0; make {data.settings.dataset} the same on "
                "all machines"
            )


def load_data(settings: DataArguments) -> DatasetDict:
    """`train` and `test` as the settings cut them; as `load_long_tailed`."""
    return load_long_tailed(
        settings.dataset,
        rho=settings.rho,
        profile=settings.profile,
        seed=settings.split_seed,
        max_per_class=settings.max_per_class,
        test_fraction=settings.test_fraction,
        **source_of(settings),
    )


def source_of(settings: DataArguments) -> dict[str, str | None]:
    """How the data are read, as `load_splits` takes it."""
    names = ("image_column", "label_column", "config_name", "train_list", "test_list", "class_from")
    return {name: getattr(settings, name) for name in names}
