"""One way to RGB, against numpy and against Pillow's own conversion of 8-bit images."""

import io

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as PILImage
from transformers.image_utils import load_image

from trainer.augmentation import EvaluationImages, HostImages, image_processor
from trainer.augmentation.device_images import DeviceImages
from trainer.augmentation.sampler import ImageKey
from trainer.commands.classify import read_image
from trainer.data import as_rgb, check_dataset, check_images
from trainer.errors import DataError


def wide(largest=65535, size=16, count=1):
    """Grey pixels of 16 bits that reach `largest`."""
    pixels = np.random.default_rng(0).integers(0, largest + 1, (count, size, size), dtype=np.uint16)
    pixels[:, 0, 0] = largest
    return pixels


def stored(pixels, kind="PNG"):
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def rows(contents):
    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b"])})
    contents = list(contents)
    images = [{"bytes": content, "path": None} for content in contents]
    return Dataset.from_dict({"image": images, "label": [i % 2 for i in range(len(contents))]}, features)


def test_every_value_of_16_bits_is_rounded_to_the_nearest_of_8():
    pixels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(pixels * (255 / 65535)).astype(np.uint8)
    for mode in ("I;16", "I;16L", "I;16B"):
        order = ">u2" if mode == "I;16B" else "<u2"
        image = PILImage.frombytes(mode, (256, 256), pixels.astype(order).tobytes())
        assert np.array_equal(np.asarray(as_rgb(image)), np.stack([expected] * 3, axis=2)), mode


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_files_of_16_bits(kind):
    pixels = wide()[0]
    content = stored(pixels.astype(np.int32) if kind == "PPM" else pixels, kind)
    with PILImage.open(io.BytesIO(content)) as image:
        assert np.array_equal(np.asarray(as_rgb(image))[..., 0], np.rint(pixels / 257))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"])
def test_other_modes_are_pillows(mode):
    image = PILImage.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)).convert(mode)
    assert np.array_equal(np.asarray(as_rgb(image)), np.asarray(image.convert("RGB")))
    assert as_rgb(image).mode == "RGB"


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_unknown_ranges_are_refused_with_the_file(dtype, tmp_path):
    PILImage.fromarray(np.ones((4, 4), dtype)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: its pixels are .*whose range is not known; save the images"):
        as_rgb(PILImage.open(tmp_path / "a.tif"))
    with pytest.raises(DataError, match=r"^its pixels are"):
        as_rgb(PILImage.fromarray(np.ones((4, 4), dtype)))
    with pytest.raises(DataError, match=r"^test, row 1: its pixels are"):
        check_images(rows([stored(wide()[0]), stored(np.ones((4, 4), dtype), "TIFF")]), split="test")


def test_training_evaluation_and_the_device_see_16_bits_as_8():
    pixels = wide(count=6)
    grey = np.rint(pixels / 257).astype(np.uint8)
    seen = []
    for dataset in (rows(map(stored, pixels)), rows(map(stored, grey))):
        keys = [ImageKey(row, 0, row) for row in range(6)]
        training = HostImages(dataset, ["affine"], 8).__getitems__(keys)
        testing = EvaluationImages(dataset, image_processor(8)).__getitems__(range(6))
        device = DeviceImages(dataset, ["affine"], 8, torch.device("cpu")).stack
        seen.append([*(row["pixel_values"] for row in (*training, *testing)), device])
    for of_16, of_8 in zip(*seen, strict=True):
        assert torch.equal(of_16, of_8)


@pytest.mark.parametrize("largest", [0, 1023, 4095, 16383])
def test_a_camera_of_fewer_bits_is_refused_by_the_whole_data_set(largest):
    few = rows(map(stored, wide(largest, count=4)))
    with pytest.raises(
        DataError, match=rf"values up to {largest} of 65535, so {largest // 257 + 1} of 256 grey levels"
    ):
        check_dataset({"train": few, "test": few})
    bright = rows(map(stored, wide(count=4)))
    check_dataset({"train": few, "test": bright})  # one range for all of them
    check_images(rows(map(stored, wide(16384))))


def test_dark_images_of_8_bits_are_said(caplog):
    """Of 12 bits in 16, Pillow keeps the upper 8 of each colour: 0 to 15."""
    dark = np.random.default_rng(0).integers(0, 16, (8, 8, 3), dtype=np.uint8)
    check_images(rows([stored(dark)] * 3))
    assert "no image has a value above 15 of 255" in caplog.text
    caplog.clear()
    check_images(rows([stored(dark), stored(dark + 1)]))
    assert not caplog.text


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_training_evaluation_and_classify_see_images_as_viewers_show_them(tmp_path, mode):
    """A tag of EXIF says how the camera was held; transformers' pipeline follows it too."""
    picture = PILImage.new(mode, (16, 8))
    picture.paste(PILImage.new(mode, (8, 8), "white"))
    exif = PILImage.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture.save(tmp_path / "a.png", exif=exif)
    rows = Dataset.from_dict(
        {"image": [str(tmp_path / "a.png")], "label": [0]},
        Features({"image": Image(), "label": ClassLabel(names=["a", "b"])}),
    )
    expected = np.asarray(load_image(str(tmp_path / "a.png")))  # a pipeline's
    assert expected.shape == (16, 8, 3)
    (read, _), *_ = HostImages(rows, ["crop_flip"], 8).read([0])
    assert np.array_equal(np.asarray(read), expected)
    assert np.array_equal(np.asarray(read_image(str(tmp_path / "a.png"), 3)), expected)
    processor = image_processor(8, 1.0)
    seen = EvaluationImages(rows, processor)[0]["pixel_values"]
    assert torch.equal(seen, processor(PILImage.fromarray(expected), return_tensors="pt")["pixel_values"][0])
