"""Images that are not RGB through the transforms of stacks: grey as RGB is, each channel by itself, fractions kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image
from stack_images import generator, scene
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from trainer.augmentation import (
    TRAIN_TRANSFORMS,
    DeviceImages,
    EvaluationImages,
    ImageKey,
    augment,
    chosen_pipeline,
    collate,
    colours,
    draw,
    frame,
    image_processor,
    steps_of_colour,
    training_images,
    try_transforms,
)
from trainer.augmentation.randaugment import OPERATIONS, PACO, PAPER, apply_randaugment, draw_randaugment
from trainer.data import PixelFormat

COUNT = 300
RGB_LIKE = PixelFormat(3, 8, IMAGENET_DEFAULT_MEAN[:1] * 3, IMAGENET_DEFAULT_STD[:1] * 3)
GREY = PixelFormat(1, 8, IMAGENET_DEFAULT_MEAN[:1], IMAGENET_DEFAULT_STD[:1])
DEEP = PixelFormat(1, 12, IMAGENET_DEFAULT_MEAN[:1], IMAGENET_DEFAULT_STD[:1])
DARK = PixelFormat(1, 16, (0.0021,), (0.0004,))
BANDS = PixelFormat(5, 16, (0.1, 0.3, 0.5, 0.7, 0.9), (0.2,) * 5)
WITHOUT_COLOURS = [name for name in TRAIN_TRANSFORMS if name != "autoaugment"]
without_colours = pytest.mark.parametrize("name", WITHOUT_COLOURS)


def pictures(channels: int) -> torch.Tensor:
    """As many one-channel pictures, moved and of other brightness."""
    one = scene(32).float().mean(0)
    shades = [(one.roll((3 * c, 7 * c), (0, 1)) * (1 - 0.12 * c)).floor() for c in range(channels)]
    return torch.stack(shades).expand(COUNT, -1, -1, -1).clone()


def through(name, images, pixels, draws):
    return augment(name, frame(name, images, draws, 32), draws, pixels)


@without_colours
def test_grey_is_augmented_as_rgb_with_equal_channels(name):
    # Around RGB images crop_flip and affine leave black, around others the mean, which is therefore black here.
    format = replace(GREY, mean=(0.0,)) if name in ("crop_flip", "affine") else GREY
    draws = draw(name, COUNT, 32, generator(), format)  # without saturation and hue, which grey images do not have
    grey = frame(name, pictures(1).to(torch.uint8), draws, 32)
    ours, rgb = augment(name, grey, draws, format), augment(name, grey.expand(-1, 3, -1, -1), draws, RGB_LIKE)
    assert torch.equal(ours, rgb[:, :1])


@pytest.mark.parametrize("name", ["crop_flip", "affine"])
@pytest.mark.parametrize("format", [RGB_LIKE, GREY, BANDS, DARK], ids=["rgb", "grey", "bands", "dark"])
def test_what_a_move_leaves_bare_is_black_around_rgb_and_the_mean_around_others(name, format):
    """So that an image that is its mean everywhere, as most of a white background, is not moved."""
    draws = draw(name, COUNT, 32, generator(), format)
    images = torch.tensor(format.mean_levels).view(1, -1, 1, 1).expand(COUNT, -1, 32, 32)
    moved = augment(name, images.to(torch.uint8 if format.bits == 8 else torch.float32), draws, format)
    if format.is_rgb:
        assert (moved == 0).any(3).any(2).float().mean() > 0.8
        assert ((moved == 0) | (moved == images)).all()
    else:
        assert (moved - images).abs().max() <= 0.002  # a thousandth is added before fractions are cut off


@without_colours
def test_each_channel_is_augmented_as_if_it_were_alone(name):
    draws = draw(name, COUNT, 32, generator(), BANDS)
    images = pictures(5) + 0.25
    together = through(name, images, BANDS, draws)
    assert together.dtype == torch.float32
    assert 0 <= together.min() <= together.max() <= 255
    for c in range(5):
        alone = through(name, images[:, c : c + 1], PixelFormat(1, 16, BANDS.mean[c : c + 1], (0.2,)), draws)
        assert torch.allclose(together[:, c : c + 1], alone, atol=1e-3)


@pytest.mark.parametrize("name", ["crop_flip", "affine", "resized_crop", "simclr"])
def test_floats_of_whole_numbers_are_augmented_as_bytes_but_for_rounding(name):
    # Of a whole level, since what a crop leaves bare is the mean, which is rounded for bytes.
    grey, deep = (replace(format, mean=(124 / 255,)) for format in (GREY, DEEP))
    draws = draw(name, COUNT, 32, generator(), grey)
    images = pictures(1)
    bytes_, floats = through(name, images.to(torch.uint8), grey, draws), through(name, images, deep, draws)
    # Each of up to four steps rounds by a level, and brightness and contrast enlarge what came before up to 1.4 times.
    steps = {"crop_flip": 0.01, "affine": 1.01, "resized_crop": 6, "simclr": 6}
    apart = (bytes_.float() - floats).abs()
    assert apart.max() <= steps[name]
    assert apart.mean() < 1.5


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name not in ("None", "Color", "Equalize")])
def test_an_operation_on_floats_of_whole_numbers_is_that_on_bytes_but_for_rounding(operation):
    draws = draw_randaugment(PAPER, COUNT, generator(), GREY)
    draws["operations"][:, 0], draws["operations"][:, 1] = OPERATIONS.index(operation), 0
    images = pictures(1)
    bytes_ = apply_randaugment(PAPER, images.to(torch.uint8), draws, GREY)
    floats = apply_randaugment(PAPER, images, draws, DEEP)
    # Pillow cuts fractions off; before, it rounds the mean grey and the blurred picture, of which up to 0.9 is taken.
    assert (bytes_.float() - floats).abs().max() <= 1.5
    assert (floats != images).any()


def test_fractions_survive_what_moves_and_what_shades():
    """A picture of less than one level of 8 bits still has its picture after each operation but posterize."""
    draws = draw_randaugment(PACO, COUNT, generator(), DEEP)
    dim = 100 + pictures(1) / 300
    for operation in set(OPERATIONS) - {"None", "Color", "Posterize"}:
        draws["operations"][:, 0], draws["operations"][:, 1] = OPERATIONS.index(operation), 0
        result = apply_randaugment(PACO, dim, draws, DEEP)
        assert all(len(image[0, 12:20, 12:20].unique()) > 8 for image in result), operation


def test_stretched_and_equalised_a_dim_picture_fills_the_range():
    dim = 100 + pictures(1)[:2] / 300
    stretched = colours.stretch(dim)
    assert [stretched.amin(), stretched.amax()] == pytest.approx([0, 255])
    flat = torch.full_like(dim, 7.5)
    assert torch.equal(colours.stretch(flat), flat)
    equalised = colours.look_up(stretched, colours.equalize_tables(stretched))
    order = dim[0].flatten().argsort()
    assert (equalised[0].flatten()[order].diff() >= -1e-3).all()


@pytest.mark.parametrize("settings", [PAPER, PACO])
def test_the_others_are_drawn_equally_often_without_color(settings):
    operations = draw_randaugment(settings, 20000, generator(), GREY)["operations"].flatten().long()
    counts = operations.bincount(minlength=len(OPERATIONS))
    assert counts[OPERATIONS.index("Color")] == 0
    drawn = torch.cat([counts[1 : OPERATIONS.index("Color")], counts[OPERATIONS.index("Color") + 1 :]]).float()
    expected = 20000 / len(drawn)
    assert ((drawn - expected) ** 2 / expected).sum() < 40  # chi-square, 12 degrees of freedom: 1 in 10,000


def test_what_needs_colours_is_named_and_autoaugment_refused():
    assert steps_of_colour("paper") == ["RandAugment's Color"]
    assert steps_of_colour("crop_flip") == steps_of_colour("affine") == []
    assert len(steps_of_colour("simclr")) == 2
    with pytest.raises(ValueError, match="autoaugment is a policy for colour photographs"):
        try_transforms(None, ["autoaugment"], 16, 1)
    with pytest.raises(ValueError, match="host augments by Pillow, which knows RGB"):
        try_transforms("host", ["paper"], 16, 4)
    try_transforms(None, WITHOUT_COLOURS, 16, 4)
    assert [chosen_pipeline(None, 3), chosen_pipeline(None, 1), chosen_pipeline("device", 3)] == [
        *("host", "device", "device")
    ]


def deep_rows(tmp_path, sizes):
    rng, rows = np.random.default_rng(0), []
    for index, size in enumerate(sizes):
        np.save(tmp_path / f"{index}.npy", rng.integers(0, 4096, (*size, 2), dtype=np.uint16))
        rows.append({"bytes": None, "path": str(tmp_path / f"{index}.npy")})
    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b"])})
    return Dataset.from_dict({"image": rows, "label": [0, 1] * (len(sizes) // 2)}, features)


@pytest.mark.parametrize("name", ["crop_flip", "paper"])
def test_resident_or_read_by_workers_an_image_is_the_same(tmp_path, name, monkeypatch):
    pixels = PixelFormat(2, 12, (0.5, 0.4), (0.3, 0.2))
    rows = deep_rows(tmp_path, [(16, 16)] * 6)
    cpu = torch.device("cpu")
    resident = training_images(None, rows, [name], 16, cpu, 0, pixels)
    assert isinstance(resident, DeviceImages)
    assert resident.resident
    monkeypatch.setattr("trainer.augmentation.device_images.RESIDENT", 0)
    read = training_images(None, rows, [name], 16, cpu, 0, pixels)
    assert not read.resident
    keys = [ImageKey(row, 1, row) for row in range(6)]
    first, second = (images.finish(collate(images.__getitems__(keys))) for images in (resident, read))
    assert first["pixel_values"].shape == (6, 2, 16, 16)
    assert torch.allclose(first["pixel_values"], second["pixel_values"], atol=1e-5)
    assert torch.equal(first["labels"], second["labels"])


def test_images_of_several_sizes_are_evaluated_as_the_processor_prepares_their_files(tmp_path):
    pixels = PixelFormat(2, 12, (0.5, 0.4), (0.3, 0.2))
    rows = deep_rows(tmp_path, [(16, 20), (30, 18)])
    processor = image_processor(16, 1.0, pixels)
    images = EvaluationImages(rows, processor)
    for row in (0, 1):
        expected = processor(tmp_path / f"{row}.npy", return_tensors="pt")["pixel_values"][0]
        assert torch.equal(images[row]["pixel_values"], expected)
