"""The device pipeline: nothing but (seed, epoch, position) decides what an image looks like, wherever it is kept."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from helpers import picture_dataset
from PIL import Image
from torch.utils.data import DataLoader

from trainer.augmentation import (
    TRAIN_TRANSFORMS,
    DeviceImages,
    EvaluationImages,
    ImageKey,
    TrainingSampler,
    collate,
    device_images,
    image_processor,
    pipelines,
)
from trainer.augmentation.pipelines import evaluation_images

CPU = torch.device("cpu")
COUNTS = (20, 12, 5)


def images(*transforms, seed=0, size=8, dataset=None):
    return DeviceImages(dataset or picture_dataset(COUNTS), transforms or ("crop_flip",), size, CPU, seed)


def keys(rows, epoch=0, first=0):
    return [ImageKey(row, epoch, first + position) for position, row in enumerate(rows)]


def batch_of(images, keys):
    return images.finish(images.__getitems__(keys))


@pytest.mark.parametrize("name", TRAIN_TRANSFORMS)
def test_a_picture_depends_on_seed_epoch_and_position_alone(name):
    """Not on its batch, its place in it, which batch came first, or the epochs before."""
    first, second = images(name), images(name)
    one = batch_of(first, [ImageKey(3, 0, 9), ImageKey(30, 0, 2), ImageKey(7, 0, 36)])["pixel_values"]
    batch_of(second, keys([1, 2], epoch=4))
    again = batch_of(second, [ImageKey(7, 0, 36), ImageKey(9, 0, 0), ImageKey(3, 0, 9), ImageKey(30, 0, 2)])
    assert torch.equal(one, again["pixel_values"][[2, 3, 0]])
    for other, epoch in ((first, 1), (images(name, seed=1), 0)):
        drawn = [ImageKey(3, epoch, 9), ImageKey(30, epoch, 2), ImageKey(7, epoch, 36)]
        assert not torch.equal(one, batch_of(other, drawn)["pixel_values"])


@pytest.mark.parametrize("name", TRAIN_TRANSFORMS)
def test_a_whole_epoch_at_once_gives_the_same_images(name):
    ahead, single = images(name), images(name)
    sampler = TrainingSampler(len(ahead), 10, repeats=2)
    drawn = list(sampler)
    ahead.augment_epoch(0, sampler.rows(0))
    for part in (drawn[:10], drawn[20:33]):
        assert ahead._is_ahead(np.array(part))
        assert torch.equal(batch_of(ahead, part)["pixel_values"], batch_of(single, part)["pixel_values"])
    others = keys([5, 6])  # not what the sampler drew for these positions
    assert torch.equal(batch_of(ahead, others)["pixel_values"], batch_of(single, others)["pixel_values"])


@pytest.mark.parametrize("name", TRAIN_TRANSFORMS)
def test_images_that_workers_decode_are_those_that_are_kept(name, monkeypatch):
    """Within a grey level, by which Pillow's resampling may differ; what comes after may enlarge it."""
    rng = np.random.default_rng(0)
    smooth = [Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)).resize((20, 20), 3) for _ in range(6)]
    dataset = Dataset.from_dict({"image": smooth, "label": [0, 1] * 3}).cast_column("image", _image_feature())
    kept = images(name, dataset=dataset, size=16)
    monkeypatch.setattr(device_images, "RESIDENT", 0)
    decoded = images(name, dataset=dataset, size=16)
    assert (kept.resident, decoded.resident) == (True, False)
    drawn = keys([0, 3, 5, 1])
    first, second = batch_of(kept, drawn), batch_of(decoded, drawn)
    assert torch.equal(first["labels"], second["labels"])
    differing = (first["pixel_values"] - second["pixel_values"]).abs() * kept.std > 1.01
    assert differing.float().mean() < 0.05


def _image_feature():
    return picture_dataset().features["image"]


@pytest.mark.parametrize(("name", "resident"), [("paper", False), ("crop_flip", True)])
def test_images_of_many_sizes_are_kept_where_the_transform_takes_them_whole(name, resident):
    pictures = [Image.new("RGB", (10 + i, 12), (40 * i, 0, 0)) for i in range(4)]
    dataset = Dataset.from_dict({"image": pictures, "label": [0, 1, 0, 1]}).cast_column("image", _image_feature())
    found = images(name, dataset=dataset)
    assert found.resident is resident
    assert batch_of(found, keys([0, 1, 2]))["pixel_values"].shape == (3, 3, 8, 8)


def test_workers_hand_bytes_on_and_what_is_kept_needs_none(monkeypatch):
    monkeypatch.setattr(device_images, "RESIDENT", 0)
    dataset = images("paper")
    sampler = TrainingSampler(len(dataset), 16, 1)
    finished = []
    for workers in (0, 2):
        loader = DataLoader(dataset, batch_size=16, sampler=sampler, collate_fn=collate, num_workers=workers)
        batches = list(loader)
        assert {batch["pixel_values"].dtype for batch in batches} == {torch.uint8}
        finished.append(torch.cat([dataset.finish(batch)["pixel_values"] for batch in batches]))
    assert torch.equal(*finished)


def test_global_generators_are_left_alone():
    dataset = images("autoaugment", "simclr")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    batch_of(dataset, keys([0, 1]))
    assert torch.equal(torch.rand(3), expected)


def test_labels_stay_with_their_pictures():
    """A picture's brightness tells its class; cropping pads with black, so the brightest pixel is asked."""
    dataset = images()
    rows = np.random.default_rng(0).permutation(len(dataset)).tolist()
    batch = batch_of(dataset, keys(rows))
    brightest = (batch["pixel_values"] * dataset.std + dataset.mean).amax(dim=(1, 2, 3))
    assert torch.equal((brightest * 3 / 256).long(), batch["labels"])
    assert batch["labels"].tolist() == [picture_dataset(COUNTS)["label"][row] for row in rows]


def test_pixels_are_normalised_as_in_evaluation(monkeypatch):
    monkeypatch.setattr("trainer.augmentation.device_images.augment", lambda name, images, *others: images)
    expected = EvaluationImages(picture_dataset(COUNTS), image_processor(8, 1.0))
    batch = batch_of(images(), keys([5, 21]))
    for row, pixels in zip((5, 21), batch["pixel_values"], strict=True):
        torch.testing.assert_close(pixels, expected[row]["pixel_values"], atol=1e-5, rtol=0)


def test_a_quarter_of_the_papers_images_is_erased_with_noise():
    """Pixels of a black image lie at -mean / std; those of the noise nearly nowhere there."""
    black = Dataset.from_dict({"image": [Image.new("RGB", (16, 16))] * 400, "label": [0, 1] * 200})
    dataset = images("crop_flip", size=16, dataset=black.cast_column("image", _image_feature()))
    dataset.transforms = {"pixel_values": "paper"}
    rows = keys(range(400))
    drawn = dataset._drawn(np.array(rows))["pixel_values"]
    erased = drawn["erase_box"][:, 2:].prod(1) > 0
    assert 60 < erased.sum() < 140  # 100 expected, standard deviation 8.7
    noise = batch_of(dataset, rows)["pixel_values"]
    values = noise.flatten(2).std(2).amin(1)
    assert values[erased].min() > 0.05


def test_two_views_differ():
    batch = batch_of(images("crop_flip", "crop_flip"), keys(range(10)))
    assert batch["second_view"].shape == batch["pixel_values"].shape == (10, 3, 8, 8)
    assert not torch.equal(batch["second_view"], batch["pixel_values"])


def test_a_loader_hands_whole_batches_on():
    dataset = images()
    loader = DataLoader(dataset, batch_size=16, sampler=TrainingSampler(len(dataset), 16, 1), collate_fn=collate)
    batches = [dataset.finish(batch) for batch in loader]
    assert [len(batch["labels"]) for batch in batches] == [16, 16, 5]
    assert torch.cat([batch["labels"] for batch in batches]).bincount().tolist() == list(COUNTS)


def test_an_unknown_transform_is_refused():
    with pytest.raises(ValueError, match="unknown training transform 'strong'"):
        images("strong")


def test_evaluation_images_that_do_not_fit_stay_on_the_host(monkeypatch):
    args = picture_dataset(COUNTS), image_processor(8, 1.0), 8, CPU
    assert evaluation_images("device", *args).resident
    monkeypatch.setattr(pipelines, "RESIDENT", 0)
    assert isinstance(evaluation_images("device", *args), EvaluationImages)
    assert isinstance(evaluation_images("host", *args), EvaluationImages)
