"""The transforms of whole stacks: exact where they can be, else as the transforms of one image in distribution."""

import random
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import functional as one

from trainer.augmentation import BATCH_TRANSFORMS, augment_batch, batch_transforms, seeded, stacks, train_transform
from trainer.augmentation.transforms import simclr_strength


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, size: int = 32, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator(seed))


def scene(size: int = 32) -> Tensor:
    """A picture with gradients, edges, colours and fine texture, and no symmetry."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    picture = torch.stack([60 + 110 * x, 30 + 100 * y * x, 170 - 90 * y])
    picture[:, size // 4 : size // 2, size // 8 : size // 2] = torch.tensor([230.0, 120.0, 20.0]).view(3, 1, 1)
    picture[:, size * 5 // 8 :, size // 2 :] += 80 * noise(1, size)[0, :, size * 5 // 8 :, size // 2 :] / 255
    return picture.to(torch.uint8)


def pillow(image: Tensor) -> Image.Image:
    return one.to_pil_image(image)


def largest_difference(image: Tensor, picture: Image.Image | Tensor) -> int:
    if isinstance(picture, Image.Image):
        picture = one.pil_to_tensor(picture)
    return (image.int() - picture.int()).abs().max().item()


# All of them


@pytest.mark.parametrize("name", BATCH_TRANSFORMS)
def test_a_function_of_the_generator_alone(name):
    images = noise(50)
    kept = images.clone()
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    first = augment_batch(name, images, generator(1))
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])
    assert torch.equal(images, kept)
    assert (first.shape, first.dtype) == (images.shape, torch.uint8)
    torch.rand(1), np.random.rand(), random.random()
    assert torch.equal(augment_batch(name, images, generator(1)), first)
    assert not torch.equal(augment_batch(name, images, generator(2)), first)


@pytest.mark.parametrize("name", BATCH_TRANSFORMS)
def test_chunks_change_nothing(name, monkeypatch):
    images = noise(197)  # the last chunk of seven has a single image
    whole = augment_batch(name, images, generator())
    monkeypatch.setattr(stacks, "CHUNK", 7)
    assert torch.equal(augment_batch(name, images, generator()), whole)


@pytest.mark.parametrize("name", BATCH_TRANSFORMS)
def test_the_device_is_never_asked_for_a_value(name):
    """Images of the meta device have no values; to read one raises."""
    images = torch.empty(300, 3, 32, 32, dtype=torch.uint8, device="meta")
    assert augment_batch(name, images, generator()).shape == images.shape


@pytest.mark.parametrize("name", BATCH_TRANSFORMS)
@pytest.mark.parametrize("shape", [(0, 3, 32, 32), (20, 3, 7, 7), (20, 3, 1, 1)])
def test_no_images_and_tiny_ones(name, shape):
    images = torch.zeros(shape, dtype=torch.uint8)
    assert augment_batch(name, images, generator()).shape == shape


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="crop_flip, autoaugment, simclr"):
        augment_batch("paper", noise(1), generator())
    wrong = [noise(1).float(), noise(1)[0], noise(1)[:, :1], noise(1)[..., :16]]
    for images in wrong:
        with pytest.raises(ValueError, match="uint8"):
            augment_batch("crop_flip", images, generator())


def features(images: Tensor) -> Tensor:
    """Channel means, deviation, left minus right, steps down and across, shares of black and rough pixels: (N, 9)."""
    pixels = images.float()
    left, right = pixels.chunk(2, dim=3)
    bends = (pixels[..., :-2] - 2 * pixels[..., 1:-1] + pixels[..., 2:]).abs()
    one_number = [
        pixels.std(dim=(1, 2, 3)),
        (left - right).mean(dim=(1, 2, 3)),
        pixels.diff(dim=2).abs().mean(dim=(1, 2, 3)),
        pixels.diff(dim=3).abs().mean(dim=(1, 2, 3)),
        (pixels == 0).float().mean(dim=(1, 2, 3)),
        (bends > 24).float().mean(dim=(1, 2, 3)),
    ]
    return torch.cat([pixels.mean(dim=(2, 3)), torch.stack(one_number, dim=1)], dim=1)


@pytest.mark.parametrize("name", BATCH_TRANSFORMS)
def test_as_the_transform_of_one_image_in_distribution(name):
    """Mean and variance of each feature: five standard errors, and a hundredth or so for rounding in other places."""
    *steps, last = train_transform(name, 32).transforms  # but for the normalisation
    steps = transforms.Compose(steps if isinstance(last, transforms.Normalize) else [*steps, transforms.ToTensor()])
    with seeded(0):
        single = torch.stack([steps(pillow(scene())) for _ in range(2_000)])
    single = features((255 * single).round())
    stack = features(augment_batch(name, scene().expand(8_000, -1, -1, -1), generator()))
    centre, rounding = stack.mean(dim=0), torch.tensor([0.3] * 5 + [0.05] * 2 + [0.005] * 2)
    for a, b, allowance in (
        (single, stack, rounding),
        ((single - centre) ** 2, (stack - centre) ** 2, 0.02 * stack.var(dim=0)),
    ):
        error = (a.var(dim=0) / len(a) + b.var(dim=0) / len(b)).sqrt()
        assert ((a.mean(dim=0) - b.mean(dim=0)).abs() < 5 * error + allowance).all()


# crop_flip


def crops(image: Tensor, padding: int) -> dict[bytes, tuple[int, int, bool]]:
    size = image.shape[-1]
    padded = torch.nn.functional.pad(image, (padding,) * 4)
    found = {}
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = padded[:, top : top + size, left : left + size]
            found[crop.numpy().tobytes()] = (top, left, False)
            found[crop.flip(2).numpy().tobytes()] = (top, left, True)
    return found


def test_crop_flip_gives_one_of_the_crops_of_its_own_image():
    images = noise(10)
    for image, augmented in zip(images, augment_batch("crop_flip", images, generator()), strict=True):
        assert augmented.numpy().tobytes() in crops(image, 4)


def test_crop_flip_draws_each_crop_equally_often():
    image, per_crop = noise(1, 16)[0], 100
    known = crops(image, 2)
    assert len(known) == 50
    augmented = augment_batch("crop_flip", image.expand(50 * per_crop, -1, -1, -1), generator())
    counts = Counter(known[crop.numpy().tobytes()] for crop in augmented)
    chi_square = sum((counts[crop] - per_crop) ** 2 / per_crop for crop in known.values())
    assert 49 - 4 * 98**0.5 < chi_square < 49 + 4 * 98**0.5  # 49 degrees of freedom, four deviations


# autoaugment; its policy is in test_autoaugment.py


def test_cutout_blackens_a_clipped_square_of_half_the_side():
    images = torch.full((5_000, 3, 32, 32), 255, dtype=torch.uint8)
    batch_transforms._cutout(images, generator())
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


# simclr


def test_resized_crops_are_pillows():
    images = torch.cat([noise(30), scene().expand(30, -1, -1, -1)])
    result = batch_transforms._resized_crop(images, 0.2, generator())
    draws = generator()
    boxes = batch_transforms._boxes(len(images), 32, 0.2, draws).int().tolist()
    flips = torch.randint(2, (len(images), 1), generator=draws)
    assert 0 < flips.sum() < len(images)
    for image, box, flip, augmented in zip(images, boxes, flips, result, strict=True):
        crop = one.resized_crop(pillow(image), *box, [32, 32])
        assert largest_difference(augmented, one.hflip(crop) if flip else crop) <= 1


@pytest.mark.parametrize(("size", "smallest_area"), [(32, 0.2), (8, 0.08)])
def test_boxes_are_torchvisions_in_distribution(size, smallest_area):
    boxes = batch_transforms._boxes(50_000, size, smallest_area, generator()).double()
    image = torch.empty(3, size, size)
    with seeded(0):
        draw = [
            transforms.RandomResizedCrop.get_params(image, [smallest_area, 1], [3 / 4, 4 / 3]) for _ in range(5_000)
        ]
    draw = torch.tensor(draw).double()
    corners, sides = boxes.split(2, dim=1)
    assert (corners >= 0).all()
    assert (corners + sides <= size).all()
    for moment in (lambda b: b, lambda b: (b - boxes.mean(dim=0)) ** 2, lambda b: b * b.roll(1, dims=1)):
        error = (moment(draw).var(dim=0) / len(draw) + moment(boxes).var(dim=0) / len(boxes)).sqrt()
        assert ((moment(draw).mean(dim=0) - moment(boxes).mean(dim=0)).abs() < 5 * error).all()


@pytest.mark.parametrize("operation", ["brightness", "contrast", "saturation"])
def test_colours_are_pillows_with_a_factor_for_each_image(operation):
    images, factors = noise(9), torch.linspace(0.6, 1.4, 9)
    result = getattr(batch_transforms, f"_{operation}")(images.float(), factors.view(-1, 1, 1, 1))
    for image, factor, adjusted in zip(images, factors.tolist(), result, strict=True):
        assert largest_difference(adjusted, getattr(one, f"adjust_{operation}")(pillow(image), factor)) <= 1


def test_hue_is_torchvisions_with_a_turn_for_each_image():
    """The tensor version: Pillow keeps hues as bytes, and so is several steps coarser."""
    images, turns = torch.cat([noise(8), scene()[None]]), torch.linspace(-0.1, 0.1, 9)
    result = batch_transforms._hue(images.float(), turns.view(-1, 1, 1, 1))
    for image, turn, adjusted in zip(images, turns.tolist(), result, strict=True):
        assert largest_difference(adjusted, one.adjust_hue(image, turn)) <= 1
    corners = torch.tensor([[0.0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]).view(5, 3, 1, 1)
    turned = batch_transforms._hue(corners, torch.full((5, 1, 1, 1), 1 / 3))
    assert torch.equal(turned, corners[[0, 1, 3, 4, 2]])


def test_brightness_of_a_constant_image():
    images, factors = torch.full((5, 3, 4, 4), 200.0), torch.tensor([0.6, 0.75, 1.0, 1.203, 1.4]).view(-1, 1, 1, 1)
    adjusted = batch_transforms._brightness(images, factors)
    assert adjusted[:, 0, 0, 0].tolist() == [120, 150, 200, 240, 255]
    assert (adjusted == adjusted[:, :1, :1, :1]).all()


def test_jitter_comes_in_every_order_with_factors_of_its_own(monkeypatch):
    names, calls, factors = ("_brightness", "_contrast", "_saturation", "_hue"), [], {}

    def recorder(name):
        def adjust(images, drawn):
            calls.append((name, len(images)))
            factors.setdefault(name, []).extend(drawn.flatten().tolist())
            return images

        return adjust

    for name in names:
        monkeypatch.setattr(batch_transforms, name, recorder(name))
    count = 24_000
    strength = simclr_strength(32)
    batch_transforms._colour_jitter(torch.zeros(count, 3, 1, 1, dtype=torch.uint8), strength, generator())
    orders = Counter()
    for start in range(0, len(calls), 4):
        orders[tuple(name for name, _ in calls[start : start + 4])] += calls[start][1]
    assert set(orders) == set(permutations(names))
    assert all(abs(drawn - 800) < 5 * 800**0.5 for drawn in orders.values())
    assert abs(orders.total() - 0.8 * count) < 5 * (0.16 * count) ** 0.5
    for name, low, high in zip(names, (0.6, 0.6, 0.6, -0.1), (1.4, 1.4, 1.4, 0.1), strict=True):
        drawn = np.array(factors[name])
        assert low - 1e-6 <= drawn.min() < low + 0.001 < high - 0.001 < drawn.max() <= high + 1e-6
        assert abs(drawn.mean() - (low + high) / 2) < 5 * drawn.std() / len(drawn) ** 0.5
        assert len(np.unique(drawn)) > 0.99 * len(drawn)


def test_grey_for_one_in_five():
    images = noise(5_000, 2)
    result = images.clone()
    batch_transforms._grey_some(result, generator())
    grey = (result == result[:, :1]).all(dim=(1, 2, 3))
    assert abs(grey.sum() - 1_000) < 5 * 800**0.5
    assert torch.equal(result[~grey], images[~grey])
    for image, augmented in zip(images[grey][:50], result[grey], strict=False):
        assert largest_difference(augmented, one.to_grayscale(pillow(image), 3)) <= 1


def test_blur_is_pillows_for_one_in_two():
    """Within three steps of 255: Pillow rounds after each of its six passes, the stack after two."""
    images = noise(300)
    result = images.clone()
    batch_transforms._blur_some(result, generator())
    draws = generator()
    chosen = torch.rand(len(images), generator=draws) < 0.5
    sigmas = torch.empty(len(images)).uniform_(0.1, 2.0, generator=draws)
    assert 110 < chosen.sum() < 190
    assert torch.equal(result[~chosen], images[~chosen])
    for image, sigma, augmented in zip(images[chosen], sigmas[chosen].tolist(), result[chosen], strict=True):
        assert largest_difference(augmented, pillow(image).filter(ImageFilter.GaussianBlur(sigma))) <= 3
