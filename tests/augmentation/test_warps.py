"""Shears, shifts and rotations are Pillow's, but where the exact result is a whole number or next to one.

There Pillow's float64 may cut it off to the number below. With shifts of a whole number of hundredths of a pixel, as
the strongest magnitude's are, many results are whole numbers: one in five of bilinear ones between few values.
"""

import pytest
import torch
from pictures import assert_equal_but_for_cut_fractions, pictures, pillow_each
from PIL import Image
from torch import Tensor

from trainer.augmentation import warps

FILL = (124, 116, 104)
SIZES = (32, 45)
SHARE, ROUND_SHARE = 0.005, 0.06  # of the values one above Pillow's; the second for shifts of whole hundredths
KINDS = {True: Image.Resampling.BICUBIC, False: Image.Resampling.BILINEAR}


def affine(images: Tensor, sources: tuple, bicubic: bool) -> Tensor:
    return pillow_each(
        images,
        lambda image: image.transform(image.size, Image.Transform.AFFINE, sources, KINDS[bicubic], fillcolor=FILL),
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bicubic", [True, False])
@pytest.mark.parametrize("amount", [-0.3, -0.2711, -0.0137, 0.0, 0.05, 0.268, 0.3])
def test_shears(amount, bicubic, size):
    images, share = pictures(size), ROUND_SHARE if abs(amount) == 0.3 else SHARE
    kinds = torch.full((5,), bicubic)
    shifts = (amount * (torch.arange(size, dtype=torch.float64) + 0.5)).expand(5, -1)
    right = warps.move_rows(images, shifts, kinds, FILL)
    assert_equal_but_for_cut_fractions(right, affine(images, (1, amount, 0, 0, 1, 0), bicubic), share)
    down = warps.move_columns(images, shifts, kinds, FILL)
    assert_equal_but_for_cut_fractions(down, affine(images, (1, 0, 0, amount, 1, 0), bicubic), share)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bicubic", [True, False])
@pytest.mark.parametrize("part", [-0.45, -0.4033, -0.011, 0.0, 0.25, 0.389, 0.45])
def test_shifts(part, bicubic, size):
    images, share = pictures(size), ROUND_SHARE if abs(part) == 0.45 else SHARE
    kinds, amount = torch.full((5,), bicubic), part * size
    shifts = torch.full((5, size), amount, dtype=torch.float64)
    right = warps.move_rows(images, shifts, kinds, FILL)
    assert_equal_but_for_cut_fractions(right, affine(images, (1, 0, amount, 0, 1, 0), bicubic), share)
    down = warps.move_columns(images, shifts, kinds, FILL)
    assert_equal_but_for_cut_fractions(down, affine(images, (1, 0, 0, 0, 1, amount), bicubic), share)


@pytest.mark.parametrize("pixels", [-7, -1, 0, 1, 7])
def test_shifts_by_whole_pixels_are_exact(pixels):
    images = pictures(32)
    shifts = torch.full((5, 32), pixels, dtype=torch.float64)
    result = warps.move_rows(images, shifts, torch.tensor([True, False, True, False, True]), FILL)
    assert torch.equal(result, affine(images, (1, 0, pixels, 0, 1, 0), True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bicubic", [True, False])
@pytest.mark.parametrize("degrees", [-30.0, -26.83, -1.3, 0.0, 0.4, 27.0, 30.0])
def test_rotations(degrees, bicubic, size):
    images = pictures(size)
    angles = torch.full((5,), degrees, dtype=torch.float64)
    result = warps.rotate(images, angles, torch.full((5,), bicubic), FILL)
    expected = pillow_each(images, lambda image: image.rotate(degrees, KINDS[bicubic], fillcolor=FILL))
    assert_equal_but_for_cut_fractions(result, expected, SHARE)


def test_each_image_has_an_amount_and_an_interpolation_of_its_own():
    images = pictures(32)[:1].expand(4, -1, -1, -1)
    amounts = torch.tensor([-12.3, -12.3, 3.7, 3.7], dtype=torch.float64)
    kinds = torch.tensor([True, False, True, False])
    for warp, tables in (
        (warps.rotate, amounts),
        (warps.move_rows, amounts.view(-1, 1).expand(-1, 32)),
        (warps.move_columns, amounts.view(-1, 1).expand(-1, 32)),
    ):
        together = warp(images, tables, kinds, FILL)
        apart = [warp(images[i : i + 1], tables[i : i + 1], kinds[i : i + 1], FILL) for i in range(4)]
        assert torch.equal(together, torch.cat(apart))
        assert len({tuple(image.flatten().tolist()) for image in together}) == 4


def test_even_areas_stay_even():
    """The four or sixteen weights do not add up to one exactly in float32; a cut fraction would show it."""
    images = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(-1, 3, 32, 32)
    amounts = torch.linspace(-14, 14, 256, dtype=torch.float64)
    kinds = torch.ones(256, dtype=torch.bool)
    for warp, tables in ((warps.rotate, amounts), (warps.move_rows, amounts.view(-1, 1).expand(-1, 32))):
        inner = warp(images, tables, kinds, FILL)[:, :, 15:17, 15:17]
        assert torch.equal(inner, images[:, :, 15:17, 15:17])
