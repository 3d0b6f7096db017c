"""Write a data set as parquet files, for file systems that are slow with many small files.

The images are the bytes of their files, labels and names of classes stay, and so does the order of rows: `--dataset
OUT` trains on the same. Nothing is cut: `rho`, `test_fraction` and the like of a recipe cut OUT as they cut ROOT.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datasets import disable_progress_bars

from trainer.arguments import DataArguments
from trainer.commands.parser import CommandParser
from trainer.data import check_dataset, load_splits, write_parquet
from trainer.parsing import make, take
from trainer.run.data import source_of
from trainer.run.recipes import data_settings
from trainer.settings import check_ranges, setting

WORDS = {
    "NAME": "stem of a recipe, a student's or a teacher's, or a YAML file; its settings of the data count",
    "ROOT": "the data set, in place of the recipe's `dataset`",
    "OUT": "folder to write, which must not exist or be empty",
}


@dataclass
class ParquetArguments:
    """How it is written."""

    _argument_group_name = "Parquet"

    shard_megabytes: int = setting(500, "Megabytes of images in a file, about.")

    def __post_init__(self):
        check_ranges(self, {"shard_megabytes": "[1, 1e6]"})


def main(words: list[str]) -> None:
    """Load, write, say where it is."""
    parser = CommandParser("to-parquet", __doc__, ParquetArguments, DataArguments, words=WORDS)
    name, root, out, given = parser.parse(words)
    flags = make(ParquetArguments, take(given, ParquetArguments))
    settings = data_settings(name, {**given, "dataset": root})
    disable_progress_bars()
    splits = load_splits(settings.dataset, **source_of(settings))
    check_dataset(splits, decode_images=False)
    place = Path(root).expanduser()
    files = write_parquet(splits, Path(out), place, flags.shard_megabytes * 10**6, show=True)
    images = ", ".join(f"{len(dataset):,} of {split}" for split, dataset in splits.items())
    print(f"{files} files with {images} are in {out}; train on them with --dataset {out}")
