"""Data sets with the columns image and label: loading, long-tailed subsets, splits and checks."""

from .checks import check_dataset, check_labels
from .columns import image_and_label, with_classes
from .digits import load_digits_dataset
from .fingerprint import images_fingerprint
from .image_checks import check_all_images, check_images
from .labels import class_counts, class_difference, label_values
from .loading import load_long_tailed
from .long_tail import long_tailed_counts, make_long_tailed
from .pixels import NORMALIZATIONS, RGB, PixelFormat, blank_format, pixel_format, stored_channels
from .rgb import as_rgb
from .splits import stratified_split

__all__ = [
    "NORMALIZATIONS",
    "RGB",
    "PixelFormat",
    "as_rgb",
    "blank_format",
    "check_all_images",
    "check_dataset",
    "check_images",
    "check_labels",
    "class_counts",
    "class_difference",
    "image_and_label",
    "images_fingerprint",
    "label_values",
    "load_digits_dataset",
    "load_long_tailed",
    "long_tailed_counts",
    "make_long_tailed",
    "pixel_format",
    "stored_channels",
    "stratified_split",
    "with_classes",
]
