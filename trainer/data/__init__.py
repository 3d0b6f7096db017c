"""Data sets with the columns image and label: loading, long-tailed subsets, splits and checks."""

from .checks import check_dataset, check_labels
from .columns import image_and_label, with_classes
from .digits import load_digits_dataset
from .fingerprint import Fingerprint, fingerprint
from .image_checks import UNDECODABLE, check_all_images, check_images, told, undecodable_images
from .image_lists import image_list_files
from .labels import class_counts, class_difference, label_values
from .loading import load_long_tailed, load_splits
from .long_tail import long_tailed_counts, make_long_tailed
from .official_lists import known_data, official_problems
from .parquet import write_parquet
from .pixels import PIXEL_NORMALIZATIONS, RGB, PixelFormat, blank_format, pixel_format, stored_channels
from .rgb import as_rgb
from .splits import stratified_split

__all__ = [
    "PIXEL_NORMALIZATIONS",
    "RGB",
    "UNDECODABLE",
    "Fingerprint",
    "PixelFormat",
    "as_rgb",
    "blank_format",
    "check_all_images",
    "check_dataset",
    "check_images",
    "check_labels",
    "class_counts",
    "class_difference",
    "fingerprint",
    "image_and_label",
    "image_list_files",
    "known_data",
    "label_values",
    "load_digits_dataset",
    "load_long_tailed",
    "load_splits",
    "long_tailed_counts",
    "make_long_tailed",
    "official_problems",
    "pixel_format",
    "stored_channels",
    "stratified_split",
    "told",
    "undecodable_images",
    "with_classes",
    "write_parquet",
]
