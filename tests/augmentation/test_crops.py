"""Crops and resizes: Pillow's pixels, timm's and torchvision's boxes, and every padded crop as often as any other."""

from collections import Counter

import pytest
import torch
from stack_images import check_near, difference, generator, noise, pillow, scene
from timm.data.transforms import RandomResizedCropAndInterpolation
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as one

from trainer.augmentation import crops, rows_of, seeded
from trainer.augmentation.crops import boxes_of, draw_flips, draw_padded_crops, draw_resized_crops
from trainer.augmentation.resampling import Resampling, by_matrices, resize_boxes

RESAMPLES = (Resampling.BILINEAR, Resampling.BICUBIC)
SIZES = [(20, 50, 32), (50, 20, 32), (32, 32, 32), (32, 32, 224), (300, 200, 32), (200, 300, 224), (7, 5, 32)]


@pytest.mark.parametrize("resample", RESAMPLES)
@pytest.mark.parametrize("way", [resize_boxes, by_matrices])
@pytest.mark.parametrize(("height", "width", "size"), SIZES)
@pytest.mark.parametrize("grain", [True, False])
def test_resized_crops_have_pillows_pixels(height, width, size, way, resample, grain):
    """On a CPU and as other devices do it; of noise and of a picture."""
    count = 4 if size == 224 else 20
    images = noise(count, height, width) if grain else one.resize(scene(), [height, width]).expand(count, -1, -1, -1)
    boxes = boxes_of(draw_resized_crops(0.08, count, generator()), height, width)
    boxes[0] = torch.tensor([0, 0, height, width])
    pictures = []
    for image, (top, left, h, w) in zip(images, boxes.int().tolist(), strict=True):
        cut = pillow(image[:, top : top + h, left : left + w])
        pictures.append(cut.resize((size, h), resample).resize((size, size), resample))
    check_near(way(images, boxes, size, resample), pictures)


@pytest.mark.parametrize("resample", RESAMPLES)
def test_a_resize_is_torchvisions(resample):
    """Of a picture: torchvision leaves it to Pillow which direction goes first, which matters to noise alone."""
    picture = pillow(scene(64))
    for box in ((0, 0, 64, 64), (3, 10, 41, 25), (20, 5, 20, 50)):
        result = resize_boxes(scene(64)[None], torch.tensor([box]), 32, resample)
        expected = one.resized_crop(picture, *box, [32, 32], one._interpolation_modes_from_int(resample))
        assert difference(result[0], expected).max() <= 2


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 24), (20, 61), (100, 10), (8, 8)])
@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_boxes_are_those_of_the_libraries_in_distribution(height, width, library):
    """Each number's distribution (Kolmogorov and Smirnov) and, for pairs of them, the mean of their product."""
    count = 20_000
    boxes = boxes_of(draw_resized_crops(0.08, count, generator()), height, width)
    get = RandomResizedCropAndInterpolation.get_params if library == "timm" else RandomResizedCrop.get_params
    picture = pillow(noise(1, height, width)[0])
    with seeded(0):
        drawn = torch.tensor([get(picture, (0.08, 1), (3 / 4, 4 / 3)) for _ in range(count // 5)]).double()
    corners, sides = boxes.split(2, dim=1)
    assert (corners >= 0).all()
    assert (sides >= 1).all()
    assert (corners + sides <= torch.tensor([height, width])).all()
    for ours, theirs in zip(boxes.T.contiguous(), drawn.T.contiguous(), strict=True):
        places = torch.arange(max(height, width) + 1).double()
        shares = [torch.searchsorted(x.sort().values, places, right=True) / len(x) for x in (ours, theirs)]
        bound = 2.2 * (1 / len(ours) + 1 / len(theirs)) ** 0.5  # passed by one in 8,000
        assert (shares[0] - shares[1]).abs().max() < bound
    ours, theirs = ((b.unsqueeze(1) * b.unsqueeze(2)).flatten(1) for b in (boxes, drawn))
    error = (ours.var(0) / len(ours) + theirs.var(0) / len(theirs)).sqrt()
    assert ((ours.mean(0) - theirs.mean(0)).abs() <= 5 * error).all()


@pytest.mark.parametrize(("height", "width"), [(100, 10), (10, 100), (9, 200), (1, 1), (1, 50)])
def test_where_no_try_fits_the_crop_is_in_the_middle(height, width):
    """All of the area, which a box of these proportions cannot have."""
    draws = draw_resized_crops(1.0, 50, generator())
    picture = pillow(noise(1, height, width)[0])
    expected = RandomResizedCrop.get_params(picture, (1.0, 1.0), (3 / 4, 4 / 3))
    assert set(map(tuple, boxes_of(draws, height, width).int().tolist())) == {tuple(expected)}


def test_a_crop_scales_with_the_picture():
    """The same draws take the same part of a picture of any size."""
    draws = draw_resized_crops(0.08, 500, generator())
    small, large = (boxes_of(draws, size, size) / size for size in (256, 4096))
    assert ((small - large).abs().amax(1) < 0.02).float().mean() > 0.97  # else rounding decides whether a try fits


def test_one_picture_is_cropped_as_in_a_stack():
    draws = draw_resized_crops(0.08, 40, generator())
    images = one.resize(scene(), [50, 37]).expand(40, -1, -1, -1)
    result = crops.resized_crops(images, draws, 32, Resampling.BICUBIC)
    row = [{name: table[i] for name, table in draws.items()} for i in range(40)]
    picture = pillow(images[0])
    check_near(result, [crops.resized_crop_of_picture(picture, d, 32, Resampling.BICUBIC) for d in row])


def test_squares_of_the_size_stay_as_they_are():
    images = noise(3)
    assert crops.squares(images, 32) is images
    assert crops.squares(noise(3, 20, 50), 32).shape == (3, 3, 32, 32)


BLACK = (0, 0, 0)


def padded_crops(image, padding):
    size = image.shape[-1]
    padded = torch.nn.functional.pad(image, (padding,) * 4)
    found = {}
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = padded[:, top : top + size, left : left + size]
            found[crop.numpy().tobytes()] = (top, left, False)
            found[crop.flip(2).numpy().tobytes()] = (top, left, True)
    return found


def test_padded_crops_and_flips_are_drawn_equally_often():
    image, per_crop = noise(1, 16)[0], 100
    known, count = padded_crops(image, 2), 50 * per_crop
    assert len(known) == 50
    numbers = generator()
    draws = draw_padded_crops(16, count, numbers) | draw_flips(count, numbers)
    augmented = crops.flip(crops.padded_crops(image.expand(count, -1, -1, -1), draws, BLACK), draws)
    counts = Counter(known[crop.numpy().tobytes()] for crop in augmented)
    chi_square = sum((counts[crop] - per_crop) ** 2 / per_crop for crop in known.values())
    assert 49 - 4 * 98**0.5 < chi_square < 49 + 4 * 98**0.5  # 49 degrees of freedom, four deviations


def test_padded_crops_are_of_their_own_image():
    images, numbers = noise(10), generator()
    draws = draw_padded_crops(32, 10, numbers) | draw_flips(10, numbers)
    for image, crop in zip(images, crops.flip(crops.padded_crops(images, draws, BLACK), draws), strict=True):
        assert crop.numpy().tobytes() in padded_crops(image, 4)


def test_rows_are_picked_in_their_order():
    draws = draw_padded_crops(32, 10, generator()) | draw_flips(10, generator())
    picked = rows_of(draws, [7, 0, 7])
    assert set(picked) == set(draws)
    assert torch.equal(picked["window"], draws["window"][[7, 0, 7]])
