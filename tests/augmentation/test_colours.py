"""Colour operations are Pillow's, to the last value."""

import pytest
import torch
from pictures import pictures, pillow_each
from PIL import ImageEnhance, ImageOps
from torch import Tensor

from trainer.augmentation import colours

SIZES = (32, 45)
FACTORS = (0.0, 0.1, 0.19, 0.5, 0.955, 1.0, 1.3, 1.81, 1.9)


def through(images: Tensor, tables: Tensor) -> Tensor:
    """Each image through one table, the same for all."""
    return colours.look_up(images, tables.view(1, 1, 256).expand(len(images), 3, -1))


def enhanced(name: str, images: Tensor, factors: Tensor) -> Tensor:
    match name:
        case "Brightness":
            tables = colours.brightness_tables(factors).unsqueeze(1).expand(-1, 3, -1)
            return colours.look_up(images, tables)
        case "Contrast":
            return colours.look_up(images, colours.contrast_tables(images, factors))
        case "Color":
            return colours.adjust_saturation(images, factors)
        case "Sharpness":
            return colours.adjust_sharpness(images, factors)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["Brightness", "Contrast", "Color", "Sharpness"])
def test_image_enhance_with_a_factor_for_each_image(name, size):
    images = pictures(size)
    for shift in range(len(FACTORS)):
        factors = FACTORS[shift:] + FACTORS[:shift]
        several = images.repeat(2, 1, 1, 1)[: len(factors)]
        expected = [
            pillow_each(image[None], lambda image, factor=factor: getattr(ImageEnhance, name)(image).enhance(factor))
            for image, factor in zip(several, factors, strict=True)
        ]
        assert torch.equal(enhanced(name, several, torch.tensor(factors)), torch.cat(expected))


@pytest.mark.parametrize("size", [1, 2, 3, 10, 16, *SIZES])
def test_what_depends_on_how_often_values_occur(size):
    """Small sizes: steps of equalize that are 0 or 1, and values that it would put above 255."""
    images = pictures(size)
    assert torch.equal(
        colours.look_up(images, colours.autocontrast_tables(images)), pillow_each(images, ImageOps.autocontrast)
    )
    assert torch.equal(
        colours.look_up(images, colours.equalize_tables(images)), pillow_each(images, ImageOps.equalize)
    )


def test_autocontrast_of_each_range():
    """Pairs of a darkest and a lightest value."""
    lowest, highest = torch.triu_indices(256, 256, 1)[:, ::37]
    images = torch.arange(256).view(1, 1, 16, 16).clamp(lowest.view(-1, 1, 1, 1), highest.view(-1, 1, 1, 1))
    images = images.expand(-1, 3, -1, -1).to(torch.uint8)
    result = colours.look_up(images, colours.autocontrast_tables(images))
    assert torch.equal(result, pillow_each(images, ImageOps.autocontrast))


def test_tables_without_images():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    assert torch.equal(through(images, colours.invert_tables(1)), pillow_each(images, ImageOps.invert))
    for bits in range(1, 9):
        expected = pillow_each(images, lambda image, bits=bits: ImageOps.posterize(image, bits))
        assert torch.equal(through(images, colours.posterize_tables(torch.tensor([bits]))), expected)
    assert not colours.posterize_tables(torch.tensor([0])).any()
    for threshold in (0, 1, 25, 128, 255, 256):
        expected = pillow_each(images, lambda image, threshold=threshold: ImageOps.solarize(image, threshold))
        assert torch.equal(through(images, colours.solarize_tables(torch.tensor([threshold]))), expected)
    added = colours.solarize_add_tables(torch.tensor([0, 110, 128]))
    assert added[:, [0, 100, 127, 128, 255]].tolist() == [
        [0, 100, 127, 128, 255],
        [110, 210, 237, 128, 255],
        [128, 228, 255, 128, 255],
    ]


@pytest.mark.parametrize("size", [1, 2])
def test_tiny_images_have_no_inner_pixels_to_sharpen(size):
    images = pictures(size)
    assert torch.equal(colours.adjust_sharpness(images, torch.full((5,), 1.9)), images)
