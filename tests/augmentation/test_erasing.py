"""Cutout's squares, and random erasing against timm's."""

import random
from collections import Counter

import pytest
import torch
from stack_images import generator
from timm.data.random_erasing import RandomErasing

from trainer.augmentation import erase, rows_of, seeded
from trainer.augmentation.erasing import cutout, draw_cutout, draw_erasing


def test_cutout_blackens_a_clipped_square_of_half_the_side():
    images = torch.full((5_000, 3, 32, 32), 255, dtype=torch.uint8)
    cutout(images, draw_cutout(32, 5_000, generator()))
    black = images == 0
    assert torch.equal(black[:, 0], black[:, 1])
    assert torch.equal(black[:, 0], black[:, 2])
    rows, columns = black[:, 0].any(dim=2), black[:, 0].any(dim=1)
    assert torch.equal(black[:, 0], rows[:, :, None] & columns[:, None, :])
    heights = Counter(rows.sum(dim=1).tolist())
    inside = [min(centre + 8, 32) - max(centre - 8, 0) for centre in range(32)]
    expected = Counter(inside)
    assert set(heights) == set(expected)
    for height, centres in expected.items():
        assert abs(heights[height] - 5_000 * centres / 32) < 5 * (5_000 * centres / 32) ** 0.5
    area = black.double().mean(dim=(1, 2, 3))
    assert abs(area.mean() - (sum(inside) / 32**2) ** 2) < 5 * area.std() / 5_000**0.5


def boxes_of_timm(count, size):
    """(top, left, height, width) of the pixels that timm erases; nothing: zeros."""
    erasing, found = RandomErasing(0.25, mode="pixel", max_count=1, device="cpu"), []
    with seeded(0):
        for _ in range(count):
            changed = (erasing(torch.full((1, size, size), 9.0)) != 9)[0].nonzero()
            if len(changed):
                low, high = changed.amin(0), changed.amax(0)
                found.append(torch.cat([low, high - low + 1]))
            else:
                found.append(torch.zeros(4, dtype=torch.long))
    return torch.stack(found)


@pytest.mark.parametrize("size", [32, 16])
def test_boxes_are_timms_in_distribution(size):
    """How many images, the distribution of each number (Kolmogorov and Smirnov), and means of products of two."""
    ours = draw_erasing(0.25, size, 20_000, generator())["erase_box"]
    theirs = boxes_of_timm(20_000, size)
    ours, theirs = (boxes[boxes[:, 2:].prod(1) > 0] for boxes in (ours, theirs))
    assert abs(len(ours) - len(theirs)) < 5 * (2 * 0.25 * 0.75 * 20_000) ** 0.5
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= size).all()
    for a, b in zip(ours.T, theirs.T, strict=True):
        shares = [(x[:, None] <= torch.arange(size)).float().mean(0) for x in (a, b)]
        assert (shares[0] - shares[1]).abs().max() < 2.2 * (1 / len(a) + 1 / len(b)) ** 0.5
    a, b = ((boxes.double()[:, None] * boxes.double()[..., None]).flatten(1) for boxes in (ours, theirs))
    error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
    assert ((a.mean(0) - b.mean(0)).abs() < 5 * error).all()


def test_erased_rectangles_hold_their_own_normal_noise():
    pixels, noise = torch.full((200, 3, 32, 32), 9.0), torch.randn(100_000, generator=generator())
    draws = draw_erasing(1.0, 32, 200, generator())
    result = erase(pixels.clone(), draws, noise)
    for image, (top, left, height, width) in zip(result, draws["erase_box"].tolist(), strict=True):
        inside = torch.zeros(32, 32, dtype=torch.bool)
        inside[top : top + height, left : left + width] = True
        assert (image[:, ~inside] == 9).all()
        assert (image[:, inside] != 9).all()
    erased = result[result != 9]
    assert abs(erased.mean()) < 0.02
    assert abs(erased.std() - 1) < 0.02
    first = [image[image != 9][0].item() for image in result]
    assert len(set(first)) > 190


def test_noise_is_taken_from_the_whole_table():
    """Of a table whose values are their places, the first and the last windows come up."""
    draws = draw_erasing(1.0, 4, 3_000, generator()) | {"erase_box": torch.tensor([[0, 0, 1, 1]]).expand(3_000, 4)}
    starts = Counter(erase(torch.zeros(3_000, 3, 4, 4), draws, torch.arange(51.0))[:, 0, 0, 0].int().tolist())
    assert sorted(starts) == [0, 1, 2, 3]
    assert all(abs(seen - 750) < 5 * 750**0.5 for seen in starts.values())


def test_an_erased_image_depends_on_its_own_row_alone():
    pixels, noise = torch.randn(60, 3, 8, 8, generator=generator()), torch.randn(5_000, generator=generator(1))
    draws = draw_erasing(0.5, 8, 60, generator())
    whole = erase(pixels.clone(), draws, noise)
    rows = random.Random(0).sample(range(60), 25)
    assert torch.equal(erase(pixels[rows], rows_of(draws, rows), noise), whole[rows])


@pytest.mark.parametrize("count", [0, 3])
def test_images_that_are_not_erased_stay(count):
    pixels = torch.randn(count, 3, 8, 8)
    draws = draw_erasing(0.0, 8, count, generator())
    assert torch.equal(erase(pixels.clone(), draws, torch.randn(1_000)), pixels)


def test_erasing_asks_the_device_for_no_value():
    """Images of the meta device have no values; to read one raises."""
    pixels = torch.empty(50, 3, 8, 8, device="meta")
    assert erase(pixels, draw_erasing(1.0, 8, 50, generator()), torch.empty(1_000, device="meta")) is pixels
