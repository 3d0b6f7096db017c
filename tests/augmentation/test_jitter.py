"""Colours and blur of stacks: Pillow's pixels, and torchvision's orders, factors and shares."""

from collections import Counter
from itertools import permutations

import pytest
import torch
from PIL import ImageFilter
from stack_images import generator, largest_difference, noise, pillow, scene
from torchvision.transforms import functional as one

from trainer.augmentation.blur import blur_some, draw_blurs
from trainer.augmentation.jitter import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    SATURATION,
    draw_greys,
    draw_jitter,
    grey_some,
    jitter,
    turn_hue,
)

ADJUST = {BRIGHTNESS: one.adjust_brightness, CONTRAST: one.adjust_contrast, SATURATION: one.adjust_saturation}


@pytest.mark.parametrize("order", [[operation] for operation in ADJUST] + list(map(list, permutations(ADJUST))))
def test_colours_are_pillows_in_every_order(order):
    """With factors for each image and operation; a picture and noise."""
    images = torch.cat([noise(8), scene().expand(8, -1, -1, -1)])
    factors = torch.empty(16, len(order)).uniform_(0.6, 1.4, generator=generator())
    result = images.clone()
    jitter(result, {"jitter_order": torch.tensor([order]).expand(16, -1), "jitter_factors": factors})
    for image, drawn, adjusted in zip(images, factors.tolist(), result, strict=True):
        expected = pillow(image)
        for operation, factor in zip(order, drawn, strict=True):
            expected = ADJUST[operation](expected, factor)
        assert largest_difference(adjusted, expected) <= 1


def test_hue_is_torchvisions_with_a_turn_for_each_image():
    """The tensor version: Pillow keeps hues as bytes, and so is several steps coarser."""
    images, turns = torch.cat([noise(8), scene()[None]]), torch.linspace(-0.1, 0.1, 9)
    result = images.clone()
    jitter(result, {"jitter_order": torch.full((9, 1), HUE), "jitter_factors": turns.view(9, 1)})
    for image, turn, adjusted in zip(images, turns.tolist(), result, strict=True):
        assert largest_difference(adjusted, one.adjust_hue(image, turn)) <= 1
    corners = torch.tensor([[0.0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]).view(5, 3, 1, 1)
    turned = turn_hue(corners, torch.full((5, 1, 1, 1), 1 / 3))
    assert torch.equal(turned, corners[[0, 1, 3, 4, 2]])


def test_images_with_orders_of_their_own():
    """Each comes out as it does alone, and without factors as it is."""
    images, draws = noise(60), draw_jitter(0.1, 0.8, 60, generator())
    result = images.clone()
    jitter(result, draws)
    left = (draws["jitter_factors"] == (draws["jitter_order"] != HUE)).all(1)
    assert 0 < left.sum() < 30
    assert torch.equal(result[left], images[left])
    for row in range(60):
        alone = images[row : row + 1].clone()
        jitter(alone, {name: table[row : row + 1] for name, table in draws.items()})
        assert torch.equal(alone[0], result[row])


@pytest.mark.parametrize(("hue", "probability"), [(0.1, 0.8), (0.0, 1.0)])
def test_jitter_comes_in_every_order_with_factors_of_its_own(hue, probability):
    count, operations = 24_000, 4 if hue else 3
    draws = draw_jitter(hue, probability, count, generator())
    order, factors = draws["jitter_order"], draws["jitter_factors"]
    orders = Counter(map(tuple, order.tolist()))
    expected = count / len(list(permutations(range(operations))))
    assert set(orders) == set(permutations(range(operations)))
    assert all(abs(drawn - expected) < 5 * expected**0.5 for drawn in orders.values())
    by_operation = torch.empty_like(factors).scatter_(1, order, factors)
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0])[:operations]
    changed = by_operation != neutral
    chosen = changed.any(1)
    assert abs(chosen.sum() - probability * count) <= 5 * (probability * (1 - probability) * count) ** 0.5
    widths = [0.4, 0.4, 0.4, hue]
    for drawn, width, middle in zip(by_operation[chosen].T, widths, neutral.tolist(), strict=False):
        drawn = (drawn.double() - middle) / width
        assert -1.00001 <= drawn.min() < -0.999 < 0.999 < drawn.max() <= 1.00001
        assert abs(drawn.mean()) < 5 * drawn.std() / len(drawn) ** 0.5
        assert len(drawn.unique()) > 0.99 * len(drawn)


def test_grey_for_one_in_five():
    images, draws = noise(5_000, 2), draw_greys(5_000, generator())
    result, grey = images.clone(), draws["grey"]
    grey_some(result, draws)
    assert abs(grey.sum() - 1_000) < 5 * 800**0.5
    assert torch.equal(result[~grey], images[~grey])
    for image, augmented in zip(images[grey][:50], result[grey], strict=False):
        assert largest_difference(augmented, one.to_grayscale(pillow(image), 3)) == 0


def test_blur_is_pillows_for_one_in_two():
    """Within three steps of 255: Pillow rounds after each of its six passes, the stack after two."""
    images, draws = noise(300), draw_blurs(300, generator())
    result, sigmas = images.clone(), draws["blur"]
    blur_some(result, draws)
    chosen = sigmas > 0
    assert 110 < chosen.sum() < 190
    assert 0.1 <= sigmas[chosen].min() < 0.2 < 1.9 < sigmas.max() <= 2
    assert torch.equal(result[~chosen], images[~chosen])
    for image, sigma, augmented in zip(images[chosen], sigmas[chosen].tolist(), result[chosen], strict=True):
        assert largest_difference(augmented, pillow(image).filter(ImageFilter.GaussianBlur(sigma))) <= 3
