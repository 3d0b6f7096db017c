"""RandAugment of stacks does to each image what timm's does to a PIL image, and draws as timm does."""

import random
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pictures import assert_equal_but_for_cut_fractions, pictures, pillow_each
from PIL import Image
from scipy.stats import chi2_contingency, ks_2samp
from timm.data import auto_augment
from timm.data.auto_augment import RandAugment
from torch import Tensor
from torchvision import transforms

from trainer.augmentation import seeded, stacks, train_transform
from trainer.augmentation.randaugment import OPERATIONS, PACO, PAPER, apply_randaugment, draw_randaugment

NAMES = {PAPER: "paper", PACO: "randaugment"}
GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
ENHANCING = ("Brightness", "Color", "Contrast", "Sharpness")
MAGNITUDES = (0.0, 2.6, 7.7, 8.93, 9.0, 9.61, 10.0)
KINDS = {True: Image.Resampling.BICUBIC, False: Image.Resampling.BILINEAR}
SMALLEST_P = 1e-3  # seeds are fixed: it is passed or failed for good


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def timm_transform(settings) -> RandAugment:
    """RandAugment as the transform of one image has it."""
    return next(step for step in train_transform(NAMES[settings], 32).transforms if isinstance(step, RandAugment))


def short(name: str) -> str:
    """OPERATIONS's name of timm's."""
    return name.removesuffix("Increasing").removesuffix("Rel")


def same_draws(count: int, name: str, magnitude: float, sign: int, bicubic: bool) -> dict[str, Tensor]:
    """One operation in the first layer, nothing in the second."""
    numbers = torch.tensor([OPERATIONS.index(name), 0], dtype=torch.uint8)
    return {
        "operations": numbers.expand(count, 2),
        "magnitudes": torch.full((count, 2), magnitude),
        "signs": torch.full((count, 2), sign, dtype=torch.int8),
        "bicubic": torch.full((count, 2), bicubic),
    }


@pytest.mark.parametrize("settings", [PAPER, PACO], ids=NAMES.get)
@pytest.mark.parametrize("name", OPERATIONS[1:])
def test_each_operation_is_timms(name, settings, monkeypatch):
    """Whole numbers exactly; interpolation as in test_warps.py."""
    operation = next(op for op in timm_transform(settings).ops if short(op.name) == name)
    operation.prob, operation.magnitude_std = 1, 0
    for magnitude in MAGNITUDES:
        for sign in (1, -1):
            for bicubic in (True, False) if settings == PACO and name in GEOMETRIC else (True,):
                for size in (32, 45):
                    images = pictures(size)
                    draws = same_draws(len(images), name, magnitude, sign, bicubic)
                    operation.magnitude = draws["magnitudes"][0, 0].item()
                    operation.kwargs["resample"] = KINDS[bicubic]
                    monkeypatch.setattr(auto_augment, "_randomly_negate", lambda amount, sign=sign: sign * amount)
                    result, expected = apply_randaugment(settings, images, draws), pillow_each(images, operation)
                    if name in GEOMETRIC:
                        assert_equal_but_for_cut_fractions(result, expected, 0.06 if magnitude == 10 else 0.005)
                    else:
                        assert torch.equal(result, expected)


def test_the_layers_follow_each_other():
    """Every pair of operations at once: the first before the second."""
    pairs = torch.cartesian_prod(torch.arange(16), torch.arange(16)).to(torch.uint8)
    images = pictures(32)[1:2].expand(256, -1, -1, -1)
    draws = draw_randaugment(PAPER, 256, generator()) | {"operations": pairs}
    result = apply_randaugment(PAPER, images, draws)
    for layer in (0, 1):
        only = torch.zeros_like(pairs)
        only[:, layer] = pairs[:, layer]
        images = apply_randaugment(PAPER, images, draws | {"operations": only})
    assert torch.equal(result, images)
    assert len({tuple(image.flatten().tolist()) for image in result}) > 200


@pytest.mark.parametrize("settings", [PAPER, PACO], ids=NAMES.get)
def test_an_image_depends_on_its_row_alone(settings, monkeypatch):
    images = pictures(32).repeat(40, 1, 1, 1)
    kept = images.clone()
    draws = draw_randaugment(settings, 200, generator())
    together = apply_randaugment(settings, images, draws)
    assert torch.equal(images, kept)
    assert (together.shape, together.dtype) == (images.shape, torch.uint8)
    order = torch.randperm(200, generator=generator(1))
    parts = [
        apply_randaugment(settings, images[rows], {name: table[rows] for name, table in draws.items()})
        for rows in order.split([1, 3, 64, 132])
    ]
    assert torch.equal(torch.cat(parts), together[order])
    monkeypatch.setattr(stacks, "PIECE", 7 * 4 * 3 * 32 * 32)
    assert torch.equal(apply_randaugment(settings, images, draws), together)


def test_draws_come_from_the_generator_alone():
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    first = draw_randaugment(PAPER, 50, generator(1))
    apply_randaugment(PAPER, pictures(32).repeat(10, 1, 1, 1), first)
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])
    torch.rand(1), np.random.rand(), random.random()
    again, other = draw_randaugment(PAPER, 50, generator(1)), draw_randaugment(PAPER, 50, generator(2))
    for name, table in first.items():
        assert torch.equal(again[name], table)
        assert name == "bicubic" or not torch.equal(other[name], table)


@pytest.mark.parametrize("settings", [PAPER, PACO], ids=NAMES.get)
def test_the_device_is_never_asked_for_a_value(settings):
    """Images of the meta device have no values; to read one raises."""
    images = torch.empty(300, 3, 32, 32, dtype=torch.uint8, device="meta")
    result = apply_randaugment(settings, images, draw_randaugment(settings, 300, generator()))
    assert (result.shape, result.device.type) == (images.shape, "meta")


@pytest.mark.parametrize("shape", [(0, 3, 32, 32), (100, 3, 7, 7), (100, 3, 1, 1)])
def test_no_images_and_tiny_ones(shape):
    images = torch.zeros(shape, dtype=torch.uint8)
    assert apply_randaugment(PACO, images, draw_randaugment(PACO, len(images), generator())).shape == shape


# What is drawn, against 20,000 images of timm's


class Stub:
    """Stands for an image: notes how timm would interpolate it."""

    size = (32, 32)

    def __init__(self):
        self.kinds = []

    def transform(self, *_, resample, **__):
        self.kinds.append(resample)
        return self

    rotate = transform


def timm_draws(settings, count: int) -> dict[str, np.ndarray]:
    """What timm draws: operations (count, 2), and magnitudes, signs and interpolations of those that have them."""
    augment = timm_transform(settings)
    noted = {"operations": [], "magnitudes": [], "signs": [], "bicubic": []}
    latest = SimpleNamespace(number=0)

    def noting(operation):
        name, change, level = short(operation.name), operation.aug_fn, operation.level_fn

        def aug_fn(image, *arguments, **kwargs):
            latest.number = OPERATIONS.index(name)
            if name in GEOMETRIC:
                noted["signs"].append(1 if arguments[0] > 0 else -1)
                return change(image, *arguments, **kwargs)
            if name in ENHANCING and settings.increasing:
                noted["signs"].append(1 if arguments[0] > 1 else -1)
            return image

        def level_fn(magnitude, hparams):
            noted["magnitudes"].append(magnitude)
            return level(magnitude, hparams)

        operation.aug_fn, operation.level_fn = aug_fn, level_fn if level else None

        def call(image):
            latest.number = 0
            image = operation(image)
            noted["operations"].append(latest.number)
            return image

        return call

    augment.ops = [noting(operation) for operation in augment.ops]
    image = Stub()
    with seeded(0):
        for _ in range(count):
            augment(image)
    noted["bicubic"] = [kind == Image.Resampling.BICUBIC for kind in image.kinds]
    return {name: np.array(values) for name, values in noted.items()} | {
        "operations": np.array(noted["operations"]).reshape(count, 2)
    }


def p_of_counts(first: np.ndarray, second: np.ndarray) -> float:
    """Chi-square test that two samples of categories come from one distribution; 1 where there is one category."""
    counts = Counter(first.tolist()), Counter(second.tolist())
    categories = sorted(counts[0] | counts[1])
    if len(categories) == 1:
        return 1.0
    return chi2_contingency([[count[category] for category in categories] for count in counts]).pvalue


@pytest.mark.parametrize("settings", [PAPER, PACO], ids=NAMES.get)
def test_drawn_as_timm_draws(settings):
    count = 20_000
    theirs = timm_draws(settings, count)
    ours = {name: table.numpy() for name, table in draw_randaugment(settings, count, generator()).items()}
    # All 256 pairs of operations, nothing among them: each layer, and that they are drawn apart
    pairs = [16 * draws["operations"][:, 0].astype(int) + draws["operations"][:, 1] for draws in (ours, theirs)]
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == 256
    assert p_of_counts(*pairs) > SMALLEST_P
    applied = ours["operations"] > 0
    assert p_of_counts(ours["signs"][applied], theirs["signs"]) > SMALLEST_P
    assert p_of_counts(ours["bicubic"][applied], theirs["bicubic"]) > SMALLEST_P
    assert set(np.unique(ours["bicubic"])) == set(np.unique(theirs["bicubic"]))
    magnitudes = ours["magnitudes"][applied]
    assert ks_2samp(magnitudes, theirs["magnitudes"]).pvalue > SMALLEST_P
    assert p_of_counts(magnitudes == 10, theirs["magnitudes"] == 10) > SMALLEST_P


def test_draws_of_an_image_are_independent():
    """Magnitudes and signs of each operation are those of all: none is drawn from another's numbers."""
    draws = {name: table.numpy() for name, table in draw_randaugment(PACO, 20_000, generator(3)).items()}
    operations = draws["operations"].flatten()
    signs, bicubic, strong = (
        draws["signs"].flatten() > 0,
        draws["bicubic"].flatten(),
        draws["magnitudes"].flatten() == 10,
    )
    kinds = 4 * signs + 2 * bicubic + strong
    table = [[np.sum((operations == number) & (kinds == kind)) for kind in range(8)] for number in range(16)]
    assert chi2_contingency(table).pvalue > SMALLEST_P
    first, second = kinds.reshape(-1, 2).T
    assert chi2_contingency(np.histogram2d(first, second, bins=(8, 8))[0]).pvalue > SMALLEST_P


@pytest.mark.parametrize("settings", [PAPER, PACO], ids=NAMES.get)
def test_as_timm_as_a_whole(settings):
    """Mean and deviation of pixels after RandAugment, over 1,500 images of each: within four standard errors."""
    picture = pictures(32)[1:2]
    count = 1_500
    images = picture.expand(count, -1, -1, -1)
    stack = apply_randaugment(settings, images, draw_randaugment(settings, count, generator()))
    with seeded(0):
        single = pillow_each(images, transforms.Compose([timm_transform(settings)]))
    for feature in (lambda pixels: pixels.mean(dim=(1, 2, 3)), lambda pixels: pixels.std(dim=(1, 2, 3))):
        first, second = feature(stack.float()), feature(single.float())
        error = ((first.var() + second.var()) / count).sqrt()
        assert (first.mean() - second.mean()).abs() < 4 * error
