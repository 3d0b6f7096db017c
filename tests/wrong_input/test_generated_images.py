"""Images of all formats, damaged at random: the image check refuses them in one line, or training reads them too."""

import io
import resource
import sys
from datetime import timedelta

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from trainer.augmentation import EvaluationImages, HostImages, image_processor
from trainer.augmentation.sampler import ImageKey
from trainer.data import as_rgb, check_images
from trainer.errors import DataError

MOST_MEMORY = 800  # MB that a process may grow by, of which a decoded image of Pillow's largest size takes 360
ONE = {
    "derandomize": True,
    "deadline": timedelta(seconds=30),
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow],
}
FORMATS = {
    "JPEG": [{"mode": "RGB"}, {"mode": "L"}, {"mode": "CMYK"}, {"mode": "RGB", "progressive": True}],
    "PNG": [{"mode": mode} for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")],
    "WEBP": [{"mode": "RGB"}, {"mode": "RGBA"}, {"mode": "RGB", "lossless": True}],
    "GIF": [{"mode": "P"}, {"mode": "RGB", "save_all": True}],
    "TIFF": [{"mode": "RGB"}, {"mode": "L", "compression": "tiff_lzw"}, {"mode": "I;16"}, {"mode": "F"}],
    "BMP": [{"mode": "RGB"}, {"mode": "P"}, {"mode": "1"}],
}


def file_of(kind, size, mode, seed, **options):
    """The bytes of a noisy image."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    if mode == "I;16":
        image = PILImage.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        image = PILImage.fromarray(pixels).convert(mode)
    buffer = io.BytesIO()
    if options.get("save_all"):
        options["append_images"] = [image.rotate(90)]
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@st.composite
def damaged_files(draw, kind):
    """A valid file, cut off somewhere, or with a few bits or bytes turned."""
    options = dict(draw(st.sampled_from(FORMATS[kind])))
    size = draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    content = bytearray(file_of(kind, size, options.pop("mode"), draw(st.integers(0, 9)), **options))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(content) - 1) | st.integers(0, min(len(content), 64) - 1))
        if draw(st.booleans()):
            content[place] ^= 1 << draw(st.integers(0, 7))
        else:
            content[place] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


def largest_memory():
    """Of this process so far, in MB."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / 2**20 if sys.platform == "darwin" else largest / 2**10


def accepted(content):
    """Whether the check accepts a file; then training and evaluation must read it too."""
    features = Features({"image": Image(), "label": ClassLabel(names=["a"])})
    rows = Dataset.from_dict({"image": [{"bytes": content, "path": "some/file"}], "label": [0]}, features)
    try:
        check_images(rows)
    except DataError as refusal:
        told = str(refusal)
        assert "\n" not in told
        assert told.startswith(("train, row 0 (some/file): ", "the grey images of 16 bits"))
        return False
    (tested,) = EvaluationImages(rows, image_processor(8)).__getitems__([0])
    (trained,) = HostImages(rows, ["affine"], 8).__getitems__([ImageKey(0, 0, 0)])
    for pixels in (tested["pixel_values"], trained["pixel_values"]):
        assert tuple(pixels.shape) == (3, 8, 8)
        assert pixels.isfinite().all()
    return True


def look_at_files(kind, examples):
    """Both outcomes must occur, or nothing was tested."""
    outcomes, before = set(), largest_memory()

    @settings(max_examples=examples, **ONE)
    @given(damaged_files(kind))
    def look(content):
        outcomes.add(accepted(content))

    look()
    assert outcomes == {True, False}
    assert largest_memory() - before < MOST_MEMORY


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file(kind):
    look_at_files(kind, 150)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_many_damaged_files(kind):
    look_at_files(kind, 600)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_file_is_accepted(kind):
    for options in FORMATS[kind]:
        whole = file_of(kind, (9, 7), seed=0, **options)
        assert accepted(whole) == (options["mode"] != "F"), options


NUMPY = {"L": np.uint8, "RGB": np.uint8, "I;16": np.uint16, "I;16B": ">u2", "1": bool}


def look_at_modes(examples):
    """`as_rgb` against numpy: sizes, modes and values."""

    @settings(max_examples=examples, **ONE)
    @given(st.sampled_from(sorted(NUMPY)), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
    def look(mode, width, height, seed):
        generator, dtype = np.random.default_rng(seed), np.dtype(NUMPY[mode])
        shape = (height, width, 3) if mode == "RGB" else (height, width)
        largest = 2 if mode == "1" else 2 ** (8 * dtype.itemsize)
        pixels = generator.integers(0, largest, shape).astype(dtype)
        if mode in ("I;16", "I;16B"):
            image = PILImage.frombytes(mode, (width, height), pixels.tobytes())
            expected = np.rint(pixels.astype(float) * 255 / 65535)
        else:
            image = PILImage.fromarray(pixels)
            expected = pixels * 255.0 if mode == "1" else pixels
        if mode != "RGB":
            expected = np.stack([expected] * 3, axis=2)
        rgb = as_rgb(image)
        assert (rgb.mode, rgb.size) == ("RGB", (width, height))
        assert np.array_equal(np.asarray(rgb), expected)

    look()


def test_modes_and_sizes():
    look_at_modes(150)


@pytest.mark.slow
def test_many_modes_and_sizes():
    look_at_modes(1000)
