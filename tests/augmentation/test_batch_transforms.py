"""The transforms of stacks, each as a whole: of which draws they are a function, and their distribution."""

import random

import numpy as np
import pytest
import torch
from stack_images import check_near, generator, noise, pillow, scene
from timm.data.auto_augment import RandAugment
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision import transforms
from torchvision.transforms.functional import pil_to_tensor, resize

from trainer.augmentation import (
    TRAIN_TRANSFORMS,
    augment,
    batch_transforms,
    draw,
    frame,
    frame_picture,
    rows_of,
    seeded,
    stacks,
    train_transform,
)
from trainer.augmentation.batch_transforms import CROPPED

every_transform = pytest.mark.parametrize("name", TRAIN_TRANSFORMS)


def both(name, images, draws, size=32):
    return augment(name, frame(name, images, draws, size), draws)


@every_transform
def test_draws_are_a_function_of_the_generator_alone(name):
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    first = draw(name, 50, 32, generator(1))
    both(name, noise(50), first)
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])
    torch.rand(1), np.random.rand(), random.random()
    again, other = draw(name, 50, 32, generator(1)), draw(name, 50, 32, generator(2))
    assert set(first) == set(again) == set(other)
    assert all(len(table) == 50 and torch.equal(table, again[key]) for key, table in first.items())
    drawn = [key for key, table in first.items() if len(table.unique()) > 1]
    assert not any(torch.equal(first[key], other[key]) for key in drawn)


@every_transform
def test_applying_draws_nothing(name):
    """And leaves the images and the draws as they are."""
    images, draws = noise(50, 40), draw(name, 50, 32, generator())
    kept, kept_draws = images.clone(), {key: table.clone() for key, table in draws.items()}
    first = both(name, images, draws)
    assert (first.shape, first.dtype) == ((50, 3, 32, 32), torch.uint8)
    assert torch.equal(first, both(name, images, draws))
    assert torch.equal(images, kept)
    assert all(torch.equal(table, kept_draws[key]) for key, table in draws.items())


@every_transform
@pytest.mark.parametrize("size", [32, 64])
def test_an_image_depends_on_its_own_row_alone(name, size):
    """Not on the images beside it, nor on where it stands among them."""
    images, draws = noise(60, size), draw(name, 60, 32, generator())
    whole = both(name, images, draws)
    rows = random.Random(0).sample(range(60), 25)
    for part in (rows, rows[:1]):
        assert torch.equal(both(name, images[part], rows_of(draws, part)), whole[part])


@every_transform
def test_pieces_change_nothing(name, monkeypatch):
    images, draws = noise(99), draw(name, 99, 32, generator())  # the last piece of seven has a single image
    whole = both(name, images, draws)
    monkeypatch.setattr(stacks, "PIECE", 7 * images[0].numel() * 4)
    assert torch.equal(both(name, images, draws), whole)


@every_transform
@pytest.mark.parametrize("size", [32, 40])
def test_the_device_is_never_asked_for_a_value(name, size):
    """Images of the meta device have no values; to read one raises."""
    images = torch.empty(300, 3, size, size, dtype=torch.uint8, device="meta")
    assert both(name, images, draw(name, 300, 32, generator())).shape == (300, 3, 32, 32)


@every_transform
@pytest.mark.parametrize("count", [0, 20])
@pytest.mark.parametrize("size", [7, 1])
def test_no_images_and_tiny_ones(name, count, size):
    images = torch.zeros(count, 3, size, size, dtype=torch.uint8)
    assert both(name, images, draw(name, count, size, generator()), size).shape == images.shape


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="paper, crop_flip, affine"):
        draw("strong", 1, 32, generator())
    draws = draw("crop_flip", 1, 32, generator())
    for images in (noise(1).double(), noise(1)[0]):
        with pytest.raises(ValueError, match="uint8"):
            frame("crop_flip", images, draws, 32)
        with pytest.raises(ValueError, match="uint8"):
            augment("crop_flip", images, draws)
    with pytest.raises(ValueError, match="1 channels, not 3"):
        augment("crop_flip", noise(1)[:, :1], draws)
    with pytest.raises(ValueError, match="squares"):
        augment("crop_flip", noise(1, 32, 16), draws)


@every_transform
@pytest.mark.parametrize(("height", "width", "size"), [(20, 50, 32), (32, 32, 32), (300, 200, 32), (300, 200, 224)])
def test_a_picture_is_framed_as_in_a_stack(name, height, width, size):
    images = resize(scene(), [height, width]).expand(6, -1, -1, -1)
    draws = draw(name, 6, size, generator())
    rows = [{key: table[row] for key, table in draws.items()} for row in range(6)]
    pictures = [frame_picture(name, pillow(images[0]), row, size) for row in rows]
    assert {picture.size for picture in pictures} == {(size, size)}
    check_near(frame(name, images, draws, size), pictures)


def test_cropped_transforms_are_those_whose_first_step_crops():
    first = {name: type(train_transform(name, 32).transforms[0]).__name__ for name in TRAIN_TRANSFORMS}
    assert set(CROPPED) == {name for name, step in first.items() if step.startswith("RandomResizedCrop")}
    for name, resample in CROPPED.items():
        mode = train_transform(name, 32).transforms[0].interpolation
        assert mode.value == resample.name.lower()


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


def host_steps(name: str, image_size: int):
    """The transform of one image, from a picture to a tensor of 0 to 255, not normalised and nothing erased."""
    ends = (transforms.Normalize, RandomErasing)
    steps = [step for step in train_transform(name, image_size).transforms if not isinstance(step, ends)]
    if type(steps[-1]).__name__ == "_NormalizedTensor":
        steps = [*steps[:-1], pil_to_tensor]
    return transforms.Compose([step for step in steps if not isinstance(step, RandAugment)])


def as_levels(image: Tensor) -> Tensor:
    return image.float() if image.dtype == torch.uint8 else (255 * image).round()


@every_transform
def test_as_the_transform_of_one_image_in_distribution(name, monkeypatch):
    """Mean and variance of each feature: five standard errors, and a hundredth or so for rounding in other places.

    Without RandAugment, whose operations and draws have tests of their own.
    """
    monkeypatch.setattr(batch_transforms, "apply_randaugment", lambda settings, images, *others: images)
    steps, picture = host_steps(name, 32), pillow(scene(48))
    with seeded(0):
        single = features(torch.stack([as_levels(steps(picture)) for _ in range(1_000)]))
    draws = draw(name, 4_000, 32, generator())
    stack = features(both(name, scene(48).expand(4_000, -1, -1, -1), draws))
    centre, rounding = stack.mean(dim=0), torch.tensor([0.3] * 5 + [0.05] * 2 + [0.005] * 2)
    for a, b, allowance in (
        (single, stack, rounding),
        ((single - centre) ** 2, (stack - centre) ** 2, 0.02 * stack.var(dim=0)),
    ):
        error = (a.var(dim=0) / len(a) + b.var(dim=0) / len(b)).sqrt()
        assert ((a.mean(dim=0) - b.mean(dim=0)).abs() < 5 * error + allowance).all()
