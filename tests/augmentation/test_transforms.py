"""The transforms: order, ranges, seeds, and Pillow's traps."""

import random

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as PILImage
from PIL import ImageFilter
from timm.data.auto_augment import RandAugment
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.random_erasing import RandomErasing
from torchvision import transforms

from trainer.augmentation import (
    TRAIN_TRANSFORMS,
    EvaluationImages,
    HostImages,
    ImageKey,
    hashed,
    image_processor,
    seeded,
    train_transform,
)
from trainer.augmentation.images import OBJECTS
from trainer.data import PixelFormat


def picture(size=32, seed=0, mode="RGB"):
    shape = (size, size, 3) if mode == "RGB" else (size, size)
    return PILImage.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), mode)


def dataset(count=4, mode="RGB"):
    features = Features({"image": Image(), "label": ClassLabel(2)})
    rows = {"image": [picture(seed=i, mode=mode) for i in range(count)], "label": [i % 2 for i in range(count)]}
    return Dataset.from_dict(rows, features)


def test_the_papers_transform_in_its_order():
    steps = train_transform("paper", 32).transforms
    kinds = [type(step).__name__ for step in steps]
    assert kinds[0] == "RandomResizedCropAndInterpolation"
    order = [transforms.RandomHorizontalFlip, RandAugment, transforms.Normalize, RandomErasing]
    places = [next(i for i, step in enumerate(steps) if isinstance(step, kind)) for kind in order]
    assert places == sorted(places)
    assert places[-1] == len(steps) - 1  # erasing comes last, after normalisation
    assert "ColorJitter" not in kinds
    augment, erase = steps[places[1]], steps[places[3]]
    assert augment.num_layers == 2
    assert {op.magnitude for op in augment.ops} == {9}
    assert {op.magnitude_std for op in augment.ops} == {0.5}
    normalize = steps[places[2]]
    assert np.allclose([*normalize.mean, *normalize.std], [*IMAGENET_DEFAULT_MEAN, *IMAGENET_DEFAULT_STD])
    assert (erase.probability, erase.max_count, erase.rand_color, erase.per_pixel) == (0.25, 1, False, True)


@pytest.mark.parametrize("name", TRAIN_TRANSFORMS)
@pytest.mark.parametrize("size", [16, 32])
def test_shape_and_scale(name, size):
    transform = train_transform(name, size)
    with seeded(0):
        tensors = torch.stack([transform(picture(24)) for _ in range(10)])
    assert tensors.shape == (10, 3, size, size)
    assert tensors.dtype == torch.float32
    assert -5 < tensors.min() < 0 < tensors.max() < 5


def test_affine_never_mirrors():
    """A picture that is dark on the left and bright on the right stays so."""
    ramp = PILImage.fromarray(np.tile(np.linspace(0, 255, 16, dtype=np.uint8), (16, 1))).convert("RGB")
    transform = train_transform("affine", 16)
    with seeded(0):
        for _ in range(50):
            middle = transform(ramp)[:, 5:11, 5:11]
            assert middle[:, :, 0].mean() < middle[:, :, -1].mean()


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="paper, crop_flip, affine"):
        train_transform("strong", 32)


@pytest.mark.slow
def test_the_papers_transform_20000_times():
    """Pillow 13 raises at 0 bits of posterize, which comes about once in 700 images; a small size keeps it quick."""
    transform, image = train_transform("paper", 16), picture(16)
    with seeded(0):
        for _ in range(20_000):
            tensor = transform(image)
    assert torch.isfinite(tensor).all()


@pytest.mark.slow
def test_randaugment_2000_times():
    transform, image = train_transform("randaugment", 16), picture(16)
    with seeded(0):
        for _ in range(2_000):
            tensor = transform(image)
    assert torch.isfinite(tensor).all()


@pytest.mark.parametrize(("name", "kind"), [("paper", "PosterizeIncreasing"), ("randaugment", "Posterize")])
def test_posterize_to_no_bits_is_black(name, kind):
    steps = train_transform(name, 16).transforms
    ops = next(step for step in steps if isinstance(step, RandAugment)).ops
    posterize = next(op for op in ops if op.name == kind).aug_fn
    assert posterize(picture(), 0).getextrema() == ((0, 0),) * 3
    assert np.asarray(posterize(picture(), 8)).tolist() == np.asarray(picture()).tolist()


def step_names(name, size):
    return [type(step).__name__ for step in train_transform(name, size).transforms]


def test_the_teachers_transforms_in_their_order():
    end = ["_NormalizedTensor"]
    crop_flip = ["Resize", "RandomCrop", "RandomHorizontalFlip"]
    resized_crop = ["RandomResizedCrop", "RandomHorizontalFlip", "ColorJitter"]
    assert step_names("crop_flip", 32) == [*crop_flip, *end]
    assert step_names("resized_crop", 32) == [*resized_crop, *end]
    assert step_names("randaugment", 32) == [*resized_crop, "RandAugment", *end]
    assert step_names("autoaugment", 32) == [*crop_flip, "AutoAugment", "ToTensor", "_Cutout", "Normalize"]
    views = ["RandomResizedCrop", "RandomHorizontalFlip", "RandomApply", "RandomGrayscale", "RandomApply"]
    assert step_names("simclr", 32) == [*views, *end]


def test_the_tensor_is_that_of_torchvisions_two_steps():
    two = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)]
    )
    last = train_transform("affine", 16).transforms[-1]
    assert torch.equal(last(picture()), two(picture()))


def test_settings_of_randaugment_and_the_crops():
    augment = next(s for s in train_transform("randaugment", 224).transforms if isinstance(s, RandAugment))
    assert augment.num_layers == 2
    assert {(op.magnitude, op.magnitude_std) for op in augment.ops} == {(10, 0.5)}
    assert {op.hparams["translate_const"] for op in augment.ops} == {100}
    assert {op.kwargs["fillcolor"] for op in augment.ops} == {(124, 116, 104)}
    for name, size, smallest in (
        ("resized_crop", 32, 0.08),
        ("randaugment", 224, 0.08),
        ("simclr", 64, 0.2),
        ("simclr", 65, 0.08),
    ):
        assert train_transform(name, size).transforms[0].scale == (smallest, 1)


@pytest.mark.parametrize(("size", "hue", "probability"), [(32, 0.1, 0.8), (224, 0.0, 1.0)])
def test_pacos_second_view_is_weaker_in_hue_on_large_images(size, hue, probability):
    """PaCo's CIFAR code jitters the hue of 0.8 of the images; its ImageNet code jitters all, but never the hue."""
    apply = train_transform("simclr", size).transforms[2]
    (jitter,) = apply.transforms
    assert apply.p == probability
    assert jitter.hue == (None if hue == 0 else (-hue, hue))
    assert jitter.brightness == jitter.contrast == jitter.saturation == (0.6, 1.4)


def test_cutout_blackens_a_quarter_or_less_before_normalisation():
    """Of a white image, with the corners' quarter squares at least and the mean that all centres give."""
    steps = train_transform("autoaugment", 32).transforms
    cutout, normalize = steps[-2:]
    with seeded(0):
        images = torch.stack([cutout(torch.ones(3, 32, 32)) for _ in range(4_000)])
    shares = (images == 0).float().mean(dim=(1, 2, 3))
    assert (shares.min(), shares.max()) == (8 * 8 / 32**2, 16 * 16 / 32**2)
    mean = (sum(min(centre + 8, 32) - max(centre - 8, 0) for centre in range(32)) / 32**2) ** 2
    assert abs(shares.mean() - mean) < 5 * shares.std() / len(shares) ** 0.5
    means, deviations = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    assert normalize(images[0])[images[0] == 0].unique().tolist() == (-means / deviations).sort().values.tolist()


def test_blur_of_simclr_is_uniform_in_sigma(monkeypatch):
    drawn = []
    monkeypatch.setattr(ImageFilter, "GaussianBlur", lambda radius: drawn.append(radius) or ImageFilter.BLUR())
    transform, image = train_transform("simclr", 8), picture(8)
    with seeded(0):
        for _ in range(1_000):
            transform(image)
    assert abs(len(drawn) - 500) < 5 * 250**0.5
    assert 0.1 <= min(drawn) < 0.15 < 1.95 < max(drawn) <= 2.0
    assert abs(np.mean(drawn) - 1.05) < 5 * np.std(drawn) / len(drawn) ** 0.5


def test_an_image_is_a_function_of_seed_epoch_and_position():
    images = HostImages(dataset(), ["paper"], 16, seed=3)
    first = images[ImageKey(0, 2, 5)]["pixel_values"]
    random.random(), np.random.rand(), torch.rand(1)
    again = images.__getitems__([ImageKey(1, 0, 0), ImageKey(0, 2, 5)])[1]["pixel_values"]
    assert torch.equal(first, again)
    for other in (ImageKey(0, 3, 5), ImageKey(0, 2, 6)):
        assert not torch.equal(first, images[other]["pixel_values"])
    assert not torch.equal(first, HostImages(dataset(), ["paper"], 16, seed=4)[ImageKey(0, 2, 5)]["pixel_values"])


def test_the_running_generators_do_not_notice():
    images = HostImages(dataset(), ["paper"], 16)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    images[ImageKey(0, 0, 0)]
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize(("room", "kept"), [(12, 12), (11.9, 0)])
def test_images_stay_decoded_where_all_of_them_fit(room, kept, monkeypatch):
    """Told by those that were read so far, so that a large data set fills no memory before it is known to be one."""
    monkeypatch.setattr("trainer.augmentation.images.KEPT_BYTES", room * (4 * 32 * 32 + OBJECTS))
    images = HostImages(dataset(12), ["crop_flip"], 16)
    for rows, expected in (([3, 3, 5], 2), (range(12), 12)):
        first = images.read(list(rows))
        assert len(images._decoded) == (expected if kept else 0)
    again = images.read(list(range(12)))
    assert [a is b for (a, _), (b, _) in zip(first, again, strict=True)] == [bool(kept)] * 12


def test_grey_images_become_three_channels():
    images = HostImages(dataset(mode="L"), ["crop_flip"], 16)
    assert images[ImageKey(0, 0, 0)]["pixel_values"].shape == (3, 16, 16)


@pytest.mark.parametrize(("size", "ratio"), [(32, 0.875), (16, 1.0)])
def test_evaluation_is_resize_and_centre_crop(size, ratio):
    """Against the paper's Pillow path; both round to uint8 after resizing, so they may differ by one step of 1/255."""
    images = EvaluationImages(dataset(), image_processor(size, ratio))
    reference = transforms.Compose(
        [
            transforms.Resize(round(size / ratio), transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    one_step = 1 / 255 / 0.224 + 1e-5
    torch.testing.assert_close(images[2]["pixel_values"], reference(picture(seed=2)), atol=one_step, rtol=0)
    assert images[2]["labels"] == 0


def test_the_papers_evaluation_size():
    processor = image_processor(224)
    assert processor.size["shortest_edge"] == 256


def test_seeds_of_single_generators():
    """The order of the numbers and each of them matters, and any generator takes the seed."""
    seeds = [hashed(*numbers) for numbers in ((1, 2), (2, 1), (1, 2, 1), (0,), (2**31, 5))]
    assert len(set(seeds)) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert hashed(1, 2) == seeds[0]


@pytest.mark.parametrize("name", TRAIN_TRANSFORMS)
def test_mean_and_deviation_are_those_of_the_images_where_they_are_measured(name):
    """A grey picture of the mean's colour is 0 everywhere; what is erased or blackened is not."""
    pixels = PixelFormat(3, 8, (0.2, 0.4, 0.6), (0.1, 0.2, 0.3))
    picture = PILImage.new("RGB", (16, 16), tuple(round(255 * mean) for mean in pixels.mean))
    with seeded(0):
        result = train_transform(name, 16, pixels)(picture)
    reference = train_transform(name, 16)
    with seeded(0):
        imagenet = reference(picture)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    ours, theirs = (torch.tensor(values).view(3, 1, 1) for values in (pixels.mean, pixels.std))
    same = ((imagenet * std + mean) - (result * theirs + ours)).abs().amax(0) < 1e-5
    assert same.float().mean() > 0.5  # but for what was erased by noise, or filled by the mean
