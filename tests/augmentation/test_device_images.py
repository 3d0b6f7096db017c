"""Images that live on the device: what a batch holds, and that nothing but (seed, epoch, row) decides it."""

import numpy as np
import torch
from helpers import picture_dataset
from torch.utils.data import DataLoader

from trainer.augmentation import EvaluationImages, ImageKey, TrainingSampler, image_processor
from trainer.augmentation.device_images import DeviceImages, collate

CPU = torch.device("cpu")


def images(*transforms, seed=0, counts=(20, 12, 5)):
    return DeviceImages(picture_dataset(counts), transforms or ("crop_flip",), 8, CPU, seed)


def keys(rows, epoch=0):
    return [ImageKey(row, epoch, position) for position, row in enumerate(rows)]


def test_a_picture_depends_on_seed_epoch_and_row_alone():
    """Not on its batch, its place in it, which batch came first, or the epochs before."""
    first, second = images(), images()
    one = first.__getitems__(keys([3, 30, 7]))["pixel_values"]
    second.__getitems__(keys([1, 2], epoch=4))
    again = second.__getitems__(keys([7, 9, 3, 30]))["pixel_values"]
    assert torch.equal(one, again[[2, 3, 0]])
    assert not torch.equal(one, first.__getitems__(keys([3, 30, 7], epoch=1))["pixel_values"])
    assert not torch.equal(one, images(seed=1).__getitems__(keys([3, 30, 7]))["pixel_values"])


def test_global_generators_are_left_alone():
    dataset = images("autoaugment", "simclr")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    dataset.__getitems__(keys([0, 1]))
    assert torch.equal(torch.rand(3), expected)


def test_labels_stay_with_their_pictures():
    """A picture's brightness tells its class; cropping pads with black, so the brightest pixel is asked."""
    dataset = images()
    rows = np.random.default_rng(0).permutation(len(dataset)).tolist()
    batch = dataset.__getitems__(keys(rows))
    brightest = (batch["pixel_values"] * dataset.std + dataset.mean).amax(dim=(1, 2, 3))
    assert torch.equal((brightest * 3 / 256).long(), batch["labels"])
    assert batch["labels"].tolist() == [picture_dataset((20, 12, 5))["label"][row] for row in rows]


def test_pixels_are_normalised_as_in_evaluation(monkeypatch):
    monkeypatch.setattr("trainer.augmentation.device_images.augment", lambda name, pixels, draws: pixels)
    expected = EvaluationImages(picture_dataset((20, 12, 5)), image_processor(8, 1.0))
    batch = images().__getitems__(keys([5, 21]))
    for row, pixels in zip((5, 21), batch["pixel_values"], strict=True):
        torch.testing.assert_close(pixels, expected[row]["pixel_values"], atol=1e-5, rtol=0)


def test_two_views_differ():
    batch = images("crop_flip", "crop_flip").__getitems__(keys(range(10)))
    assert batch["second_view"].shape == batch["pixel_values"].shape == (10, 3, 8, 8)
    assert not torch.equal(batch["second_view"], batch["pixel_values"])


def test_the_papers_transform_erases_after_normalisation():
    """In a quarter of the images there are values that no pixel has; the same whatever the batch."""
    dataset = images("paper", counts=(200, 100))
    batch = dataset.__getitems__(keys(range(300)))["pixel_values"]
    levels = batch * dataset.std + dataset.mean
    erased = ((levels - levels.round()).abs() > 0.01).flatten(1).any(1)
    assert abs(erased.sum() - 75) < 5 * 56.25**0.5
    assert torch.equal(dataset.__getitems__(keys([7, 299]))["pixel_values"], batch[[7, 299]])


def test_a_loader_hands_whole_batches_on():
    dataset = images()
    loader = DataLoader(dataset, batch_size=16, sampler=TrainingSampler(len(dataset), 16, 1), collate_fn=collate)
    batches = list(loader)
    assert [len(batch["labels"]) for batch in batches] == [16, 16, 5]
    assert torch.cat([batch["labels"] for batch in batches]).bincount().tolist() == [20, 12, 5]
