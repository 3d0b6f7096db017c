"""Write a data set as class folders of PNG files, as users have their own: `python .../image_folders.py DATA FOLDER`.

DATA is a folder or a Hub id; train/<class>/ is cut to a long tail with --rho, test/<class>/ is whole.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from trainer.data import load_long_tailed


def main() -> None:
    """Read, cut, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder or Hub id")
    parser.add_argument("folder", type=Path, help="to be written, must not exist")
    parser.add_argument("--rho", type=float, help="imbalance ratio of the training images; as they are if not given")
    args = parser.parse_args()
    splits = load_long_tailed(args.data, rho=args.rho)
    args.folder.mkdir(parents=True)
    for split, dataset in splits.items():
        names = dataset.features["label"].names
        for name in names:
            (args.folder / split / name).mkdir(parents=True)
        for index, row in enumerate(dataset):
            row["image"].save(args.folder / split / names[row["label"]] / f"{index:05}.png")


if __name__ == "__main__":
    main()
