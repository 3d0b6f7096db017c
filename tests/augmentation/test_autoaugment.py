"""AutoAugment: the operations of PaCo's code one by one, on images and on stacks, and how they are drawn."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from stack_images import generator, noise
from torchvision import transforms
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from trainer.augmentation import autoaugment, seeded
from trainer.augmentation.autoaugment import POLICIES, SIGNED, AutoAugment, apply_to_image, apply_to_stack

OPERATIONS = sorted({(name, level or 0) for pair in POLICIES for name, _, level in pair})
# The ten strengths of each operation in the code that PaCo's authors use.
STRENGTHS = {
    "ShearY": np.linspace(0, 0.3, 10),
    "TranslateX": np.linspace(0, 150 / 331, 10),
    "TranslateY": np.linspace(0, 150 / 331, 10),
    "Rotate": np.linspace(0, 30, 10),
    "Posterize": np.round(np.linspace(8, 4, 10), 0).astype(int),
    "Solarize": np.linspace(256, 0, 10),
    **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), np.linspace(0, 0.9, 10)),
}


def definition(image: Image.Image, name: str, level: int, sign: int) -> Image.Image:
    """What the authors' operation does, in Pillow's words."""
    strength = sign * STRENGTHS[name][level] if name in STRENGTHS else None
    grey, affine, (width, height) = (128, 128, 128), Image.Transform.AFFINE, image.size
    match name:
        case "ShearY":
            source = (1, 0, 0, strength, 1, 0)
            return image.transform(image.size, affine, source, Image.Resampling.BICUBIC, fillcolor=grey)
        case "TranslateX":
            return image.transform(image.size, affine, (1, 0, strength * width, 0, 1, 0), fillcolor=grey)
        case "TranslateY":
            return image.transform(image.size, affine, (1, 0, 0, 0, 1, strength * height), fillcolor=grey)
        case "Rotate":  # over grey, by what it leaves transparent
            turned = image.convert("RGBA").rotate(strength)
            return Image.composite(turned, Image.new("RGBA", image.size, (128,) * 4), turned).convert("RGB")
        case "Posterize":
            return ImageOps.posterize(image, int(strength))
        case "Solarize":
            return ImageOps.solarize(image, strength)
        case "Brightness" | "Color" | "Contrast" | "Sharpness":
            return getattr(ImageEnhance, name)(image).enhance(1 + strength)
        case _:
            return getattr(ImageOps, name.lower())(image)


def signs(name: str) -> tuple[int, ...]:
    return (1, -1) if name in SIGNED else (1,)


@pytest.mark.parametrize(("name", "level"), OPERATIONS)
def test_operations_are_the_authors(name, level):
    for sign in signs(name):
        for image in map(to_pil_image, noise(3)):
            expected = np.asarray(definition(image, name, level, sign))
            assert (np.asarray(apply_to_image(image, name, level, sign)) == expected).all()


@pytest.mark.parametrize(("name", "level"), OPERATIONS)
@pytest.mark.parametrize("size", [32, 17])
def test_a_stack_is_its_images(name, level, size):
    """Exact where pixels are moved, looked up or sharpened, else one step of 255 for rounding: colours and shears."""
    images = noise(4, size)
    exact = ("TranslateX", "TranslateY", "Rotate", "Posterize", "Solarize", "Equalize", "Invert", "Sharpness")
    for sign in signs(name):
        for image, augmented in zip(images, apply_to_stack(images.clone(), name, level, sign), strict=True):
            single = pil_to_tensor(apply_to_image(to_pil_image(image), name, level, sign))
            assert (augmented.int() - single.int()).abs().max() <= (0 if name in exact else 1)


@pytest.mark.parametrize("name", ["Rotate", "ShearY", "TranslateX", "TranslateY"])
def test_what_lies_outside_is_grey(name):
    """Corners of a white image; torchvision's policy leaves them black."""
    level, white = (
        max(level for n, level in OPERATIONS if n == name),
        torch.full((1, 3, 32, 32), 255, dtype=torch.uint8),
    )
    single = pil_to_tensor(apply_to_image(to_pil_image(white[0]), name, level))
    for image in (single, apply_to_stack(white, name, level)[0]):
        assert set(image.unique().tolist()) == {128, 255}
        corners = image[:, [0, 0, -1, -1], [0, -1, 0, -1]]
        assert (corners == 128).any()


def test_shifts_are_by_fractions_of_a_pixel():
    """Level 8 of 9: 12.89 of 32 pixels. Rounded, the nearest pixel is 13 away; torchvision cuts off to 12."""
    ramp = torch.arange(32, dtype=torch.uint8).expand(1, 3, 32, 32).contiguous()
    assert apply_to_stack(ramp, "TranslateX", 8)[0, 0, 0, 0] == 13


def test_unknown_operations_are_refused():
    with pytest.raises(ValueError, match="'Blur' is not known"):
        apply_to_image(Image.new("RGB", (8, 8)), "Blur", 1)
    with pytest.raises(ValueError, match="'Blur' is not known"):
        apply_to_stack(noise(1), "Blur", 1)


EXPECTED = Counter()  # how often an image meets each operation
for _name, _probability, _level in (step for pair in POLICIES for step in pair):
    for _sign in signs(_name):
        EXPECTED[_name, _level or 0, _sign] += _probability / len(POLICIES) / len(signs(_name))


def check_shares(seen: Counter, count: int) -> None:
    for key, share in EXPECTED.items():
        assert abs(seen[key] - count * share) < 5 * (count * share) ** 0.5 + 1e-6
    assert set(seen) <= set(EXPECTED)


def test_policies_and_probabilities_of_stacks(monkeypatch):
    seen, count = Counter(), 50_000

    def record(images, name, level, sign):
        seen[name, level, sign] += len(images)
        return images

    monkeypatch.setattr(autoaugment, "apply_to_stack", record)
    images = torch.zeros(count, 3, 1, 1, dtype=torch.uint8)
    autoaugment.apply_autoaugment(images, autoaugment.draw_autoaugment(count, generator()))
    check_shares(seen, count)


def test_policies_and_probabilities_of_images(monkeypatch):
    seen, count = Counter(), 20_000

    def record(image, name, level, sign):
        seen[name, level, sign if name in SIGNED else 1] += 1
        return image

    monkeypatch.setattr(autoaugment, "apply_to_image", record)
    with seeded(0):
        for _ in range(count):
            AutoAugment()(None)
    check_shares(seen, count)


def test_both_operations_in_their_order(monkeypatch):
    """One policy: invert all, then solarize all."""
    monkeypatch.setattr(autoaugment, "POLICIES", [(("Invert", 1.0, None), ("Solarize", 1.0, 5))])
    images = noise(5)
    expected = transforms.functional.solarize(transforms.functional.invert(images), 256 - 256 * 5 / 9)
    single = pil_to_tensor(AutoAugment()(to_pil_image(images[0])))
    autoaugment.apply_autoaugment(images, autoaugment.draw_autoaugment(len(images), generator()))
    assert torch.equal(images, expected)
    assert torch.equal(single, expected[0])


def test_chances_and_signs_of_both_operations_are_independent(monkeypatch):
    """Each leaves an image alone (0) or has a plus (1) or a minus (2), which the value 0 collects as two digits."""
    monkeypatch.setattr(autoaugment, "POLICIES", [(("ShearY", 0.5, 1), ("Color", 0.5, 1))])
    digit = {("ShearY", 1): 10, ("ShearY", -1): 20, ("Color", 1): 1, ("Color", -1): 2}
    monkeypatch.setattr(autoaugment, "apply_to_stack", lambda images, name, _, sign: images + digit[name, sign])
    images = torch.zeros(16_000, 3, 1, 1, dtype=torch.uint8)
    autoaugment.apply_autoaugment(images, autoaugment.draw_autoaugment(len(images), generator()))
    counts = Counter(images[:, 0, 0, 0].tolist())
    expected = {0: 4_000, **dict.fromkeys((1, 2, 10, 20), 2_000), **dict.fromkeys((11, 12, 21, 22), 1_000)}
    assert set(counts) == set(expected)
    assert all(abs(counts[outcome] - number) < 5 * number**0.5 for outcome, number in expected.items())
