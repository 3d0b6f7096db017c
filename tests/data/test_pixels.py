"""Mean, deviation and depth of training images, against numpy on all pixels."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as PILImage

from trainer.arguments import DataArguments
from trainer.data import RGB, check_images, pixel_format
from trainer.errors import DataError

RNG = np.random.default_rng(0)


def rows(folder, arrays):
    """Arrays (H, W, C), of one channel as PNG files by turns with .npy files."""
    paths = []
    for index, array in enumerate(arrays):
        path = folder / f"{index}.npy"
        if array.shape[2] == 1 and index % 2:
            path = path.with_suffix(".png")
            PILImage.fromarray(array[..., 0]).save(path)
        else:
            np.save(path, array)
        paths.append({"bytes": None, "path": str(path)})
    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b"])})
    return Dataset.from_dict({"image": paths, "label": [0] * len(paths)}, features)


def by_numpy(arrays, scale):
    """Mean and deviation where each image counts the same."""
    means = [(array / scale).mean((0, 1)) for array in arrays]
    squares = [((array / scale) ** 2).mean((0, 1)) for array in arrays]
    mean = np.mean(means, axis=0)
    return mean, np.sqrt(np.mean(squares, axis=0) - mean**2)


@pytest.mark.parametrize(("largest", "bits"), [(255, 8), (300, 9), (4095, 12), (65535, 16)])
@pytest.mark.parametrize("channels", [1, 5])
def test_as_numpy_says_and_as_many_bits_as_the_largest_value_needs(tmp_path, channels, largest, bits):
    sizes = [(4, 6), (9, 3), (8, 8)]
    arrays = [RNG.integers(0, largest, (*size, channels), dtype=np.uint16) for size in sizes]
    arrays[1][2, 1, 0] = largest
    found = pixel_format(rows(tmp_path, arrays), channels)
    mean, std = by_numpy(arrays, 2**bits - 1)
    assert (found.channels, found.bits) == (channels, bits)
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(std)


def test_among_deep_images_those_of_8_bits_go_up_to_255(tmp_path):
    deep = RNG.integers(0, 4096, (5, 5, 1), dtype=np.uint16)
    flat = RNG.integers(0, 256, (5, 5, 1), dtype=np.uint8)
    found = pixel_format(rows(tmp_path, [deep, flat]), 1)
    mean, std = by_numpy([deep / 4095, flat / 255], 1)
    assert found.bits == 12
    assert (*found.mean, *found.std) == pytest.approx((*mean, *std))


def test_blocks_in_workers_give_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.data.pixels.BLOCK", 3)
    arrays = [RNG.integers(0, 4096, (5, 5, 2), dtype=np.uint16) for _ in range(8)]
    alone, together = (pixel_format(rows(tmp_path, arrays), 2, workers) for workers in (1, 2))
    assert alone == together


def test_what_was_measured_is_remembered_by_the_state_of_the_images(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_CACHE_HOME", tmp_path / "cache")
    arrays = [RNG.integers(0, 4096, (5, 5, 2), dtype=np.uint16) for _ in range(4)]
    data = rows(tmp_path, arrays)
    first = pixel_format(data, 2, state="as it was")
    with monkeypatch.context() as patch:
        patch.setattr("trainer.data.pixels.stored_channels", None)  # nothing is read
        assert pixel_format(data, 2, state="as it was") == first
    np.save(tmp_path / "0.npy", np.zeros((5, 5, 2), np.uint16))
    assert pixel_format(data, 2, state="as it is") != first


def test_a_channel_that_is_the_same_everywhere_is_left_as_it_is(tmp_path):
    arrays = [np.dstack([RNG.integers(0, 256, (4, 4), dtype=np.uint8), np.full((4, 4), 7, np.uint8)])]
    found = pixel_format(rows(tmp_path, arrays), 2)
    assert found.mean[1] == pytest.approx(7 / 255)
    assert found.std[1] == 1


def test_rgb_is_measured_as_training_reads_it():
    picture = RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b"])})
    train = Dataset.from_dict({"image": [PILImage.fromarray(picture)], "label": [0]}, features)
    found = pixel_format(train, 3)
    mean, std = by_numpy([picture], 255)
    assert (*found.mean, *found.std) == pytest.approx((*mean, *std))
    assert found.is_rgb


def test_what_settings_mean():
    assert DataArguments().pixel_normalization == "imagenet"
    assert DataArguments(num_channels=1).pixel_normalization == "data"
    assert DataArguments(normalization="data").pixel_normalization == "data"
    with pytest.raises(ValueError, match="with num_channels 4 set normalization to data"):
        DataArguments(num_channels=4, normalization="imagenet")


def test_images_of_other_channels_are_refused_with_their_path(tmp_path):
    data = rows(tmp_path, [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3), np.uint8)])
    with pytest.raises(DataError, match=r"row 1 \(.*1\.npy\): .*shape \(4, 4, 3\), not \(height, width, 2\)"):
        check_images(data, channels=2)
    with pytest.raises(DataError, match=r"row 0 \(.*0\.npy\): .*set num_channels"):
        check_images(data)


def test_the_banner_names_the_channels():
    assert RGB.in_words == "RGB, ImageNet's mean and deviation"
