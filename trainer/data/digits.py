"""The handwritten digits that scikit-learn carries: real images for tests and demonstrations without a download."""

import io

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
from PIL import Image as PILImage

TEST_PER_CLASS = 50
TEST_SEED = 0


def load_digits_dataset() -> DatasetDict:
    """The 1,797 grey 8x8 digits of scikit-learn (UCI Optical Recognition of Handwritten Digits, test part).

    The test split is balanced: 50 images per class, drawn once with a fixed seed (numpy's default generator, seed 0,
    class after class). The other 1,297, 124 to 133 per class, are the train split. Both keep the original row order.

    Returns:
        DatasetDict with `train` and `test`; `image`: 8x8 grey, stored as PNG, the original 0 .. 16 scaled to 0 .. 255
        (no two values fall together); `label`: ClassLabel "0" .. "9".
    """
    from sklearn.datasets import load_digits  # here, since every command would wait a second for it

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    generator = np.random.default_rng(TEST_SEED)
    test = np.zeros(len(pixels), dtype=bool)
    for digit in range(10):
        test[generator.choice(np.flatnonzero(digits.target == digit), TEST_PER_CLASS, replace=False)] = True
    return DatasetDict(
        {
            "train": _as_dataset(pixels[~test], digits.target[~test]),
            "test": _as_dataset(pixels[test], digits.target[test]),
        }
    )


def _as_dataset(pixels: np.ndarray, labels: np.ndarray) -> Dataset:
    images = [{"bytes": _png(picture), "path": None} for picture in pixels]
    features = Features({"image": Image(), "label": ClassLabel(names=[str(digit) for digit in range(10)])})
    return Dataset.from_dict({"image": images, "label": labels.tolist()}, features=features)


def _png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()
