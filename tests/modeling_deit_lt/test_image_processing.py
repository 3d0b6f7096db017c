"""Images of one channel or many, of 8 or 16 bits: read as they are stored, and prepared as training prepares them."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, DeiTImageProcessor

from modeling_deit_lt import DeiTLTImageProcessor, levels, read_channels
from modeling_deit_lt.image_processing_deit_lt import as_channels

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 4096, (20, 30), dtype=np.uint16)
BANDS = RNG.integers(0, 65536, (12, 10, 5), dtype=np.uint16)


def tiff(path, bands):
    pages = [Image.fromarray(page) for page in bands.transpose(2, 0, 1)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def processor(**settings):
    return DeiTLTImageProcessor(
        **{"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}, **settings}
    )


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy", "a.pgm"])
def test_grey_of_16_bits_keeps_them(tmp_path, name):
    file = tmp_path / name
    if file.suffix == ".npy":
        np.save(file, DEEP)
    else:
        Image.fromarray(DEEP).save(file)
    for source in (file, file.read_bytes()):
        assert np.array_equal(read_channels(source, 1), DEEP[None])


def test_bytes_in_the_other_order_and_a_third_dimension_are_read(tmp_path):
    np.save(tmp_path / "a.npy", DEEP.astype(">u2")[..., None])
    found = read_channels(tmp_path / "a.npy", 1)
    assert np.array_equal(found, DEEP[None])
    assert torch.equal(levels(found, 12), levels(DEEP[None], 12))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pages_of_a_tiff_are_channels_as_an_array_has_them(tmp_path, dtype):
    bands = BANDS.astype(dtype)
    tiff(tmp_path / "a.tif", bands)
    np.save(tmp_path / "a.npy", bands)
    found = [read_channels(tmp_path / name, 5) for name in ("a.tif", "a.npy")]
    assert found[0].dtype == found[1].dtype == dtype
    assert all(np.array_equal(pixels, bands.transpose(2, 0, 1)) for pixels in found)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA"])
def test_one_channel_of_8_bits_is_pillows_grey(mode):
    image = Image.fromarray(RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8)).convert(mode)
    assert np.array_equal(as_channels(image, 1)[0], np.asarray(image.convert("L")))


def test_bands_of_an_image_are_channels():
    pixels = RNG.integers(0, 256, (9, 7, 4), dtype=np.uint8)
    assert np.array_equal(as_channels(Image.fromarray(pixels, "RGBA"), 4), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.png"])
def test_images_are_turned_as_viewers_show_them(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    picture = np.zeros((8, 16), np.uint8)
    picture[:, :8] = 255
    Image.fromarray(picture).save(tmp_path / name, exif=exif)
    shown = read_channels(tmp_path / name, 1)[0]
    assert shown.shape == (16, 8)
    assert shown[:7].min() > 200
    assert shown[9:].max() < 50


@pytest.mark.parametrize(
    ("image", "channels", "message"),
    [
        (np.zeros((4, 4), np.float32), 1, r"float32, whose range is not known; save them as uint8 or uint16"),
        (np.zeros((4, 4), np.int64), 1, "int64"),
        (np.zeros((4, 4, 3), np.uint8), 1, r"shape \(4, 4, 3\), not \(height, width, 1\) or \(height, width\)"),
        (np.zeros((5, 4, 4), np.uint8), 5, r"shape \(5, 4, 4\), not \(height, width, 5\)"),
        (np.zeros((4, 4, 4, 1), np.uint8), 1, "shape"),
        (np.zeros((0, 4), np.uint8), 1, "no pixels"),
        (Image.new("F", (4, 4)), 1, "floating-point numbers, whose range is not known"),
        (Image.new("I", (4, 4)), 1, "32-bit integers"),
        (Image.new("RGB", (4, 4)), 5, "1 page of the mode RGB, not 5 channels"),
        (Image.new("P", (4, 4)), 2, "1 page of the mode P, not 2 channels"),
    ],
)
def test_what_cannot_be_read_is_refused(image, channels, message):
    with pytest.raises(ValueError, match=message):
        as_channels(image, channels)


def test_pages_that_are_too_few_are_refused(tmp_path):
    tiff(tmp_path / "a.tif", BANDS)
    with pytest.raises(ValueError, match="5 pages of the mode I;16, not 8 channels"):
        read_channels(tmp_path / "a.tif", 8)


def test_what_would_be_lost_in_silence_is_refused(tmp_path):
    tiff(tmp_path / "a.tif", BANDS)
    with pytest.raises(ValueError, match="5 pages of the mode I;16, not 1 channel"):
        read_channels(tmp_path / "a.tif", 1)
    pages = [Image.new("L", (4, 4)), Image.new("I;16", (4, 4))]
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="its pages differ in size or depth"):
        read_channels(tmp_path / "b.tif", 2)
    pages = [Image.new("RGB", (4, 4))] * 2
    pages[0].save(tmp_path / "c.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="its pages are of the mode RGB; a page of a channel is grey"):
        read_channels(tmp_path / "c.tif", 2)
    rows = b"".join(b"\0" + RNG.integers(0, 65536, (4, 4), dtype=np.uint16).astype(">u2").tobytes() for _ in range(4))
    for colour_type, channels in ((6, 4), (2, 1), (4, 1)):  # RGBA, RGB and grey with alpha, 16 bits each
        bands = {6: 4, 2: 3, 4: 2}[colour_type]
        header = struct.pack(">IIBBBBB", 4 // bands or 1, 4, 16, colour_type, 0, 0, 0)
        width = 4 // bands or 1
        lines = b"".join(row[: 1 + width * bands * 2] for row in (rows[i : i + 33] for i in range(0, 132, 33)))
        png = b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
        )
        with pytest.raises(ValueError, match="of 16 bits in several bands Pillow keeps 8"):
            read_channels(png, channels)


@pytest.mark.parametrize("channels", [1, 2])
def test_headers_that_rgb_images_must_not_have_are_refused_too(tmp_path, channels, monkeypatch):
    """PostScript is a program, which Pillow would give to Ghostscript."""
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", None)
    with pytest.raises(ValueError, match="it is PostScript, a program that Pillow would run"):
        read_channels(tmp_path / "a.png", channels)
    Image.new("L", (900, 1)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="longer than 100 times its short side"):
        read_channels(tmp_path / "b.png", channels)
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 8)
    Image.new("L", (5, 2)).save(tmp_path / "c.png")
    with pytest.raises(ValueError, match="too many to decode"):
        read_channels(tmp_path / "c.png", channels)


def test_an_array_is_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read_channels(tmp_path / "a.npy", 1)


def test_levels_go_from_0_to_255_and_keep_fractions():
    deep = np.array([[[0, 1, 4095, 5000]]], np.uint16)
    assert torch.allclose(levels(deep, 12), torch.tensor([[[0.0, 255 / 4095, 255.0, 255.0]]]))
    byte = np.array([[[0, 255]]], np.uint8)
    assert levels(byte, 8).dtype == torch.uint8
    assert levels(byte, 12).tolist() == [[[0.0, 255.0]]]  # 8 bits are the whole range, among deeper ones too


@pytest.mark.parametrize(("shape", "edge", "crop"), [((40, 56), 20, 16), ((16, 16), 16, 16), ((23, 90), 37, 32)])
def test_grey_of_8_bits_is_prepared_as_the_rgb_processor_does(shape, edge, crop):
    ramp = np.add.outer(np.arange(shape[0]), 2 * np.arange(shape[1])).astype(np.uint8)
    image = Image.fromarray(np.minimum(ramp, 250))
    settings = {"size": {"shortest_edge": edge}, "crop_size": {"height": crop, "width": crop}}
    ours = processor(image_mean=[0.4], image_std=[0.2], **settings)(image, return_tensors="pt")["pixel_values"]
    rgb = DeiTImageProcessor(resample=3, image_mean=[0.4] * 3, image_std=[0.2] * 3, **settings)
    theirs = rgb(image.convert("RGB"), return_tensors="pt")["pixel_values"]
    assert ours.shape == (1, 1, crop, crop)
    levels_apart = (ours - theirs[:, :1]).abs() * 0.2 * 255
    # Theirs rounds to whole levels after each of two directions.
    assert levels_apart[..., 1:-1, 1:-1].max() < 1.6


def test_saved_and_opened_again_it_prepares_the_same(tmp_path):
    own = processor(num_channels=5, bits=16, image_mean=[0.1, 0.2, 0.3, 0.4, 0.5], image_std=[0.5] * 5)
    own.save_pretrained(tmp_path)
    tiff(tmp_path / "a.tif", BANDS)
    opened = AutoImageProcessor.from_pretrained(tmp_path, trust_remote_code=False)
    assert type(opened) is DeiTLTImageProcessor
    first = own([BANDS, BANDS], return_tensors="pt")["pixel_values"]
    again = opened([str(tmp_path / "a.tif"), torch.from_numpy(BANDS)], return_tensors="pt")["pixel_values"]
    assert first.shape == (2, 5, 16, 16)
    assert torch.equal(first, again)


def test_16_bits_that_a_pipeline_has_cut_off_are_refused(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "a.png")
    own = processor(bits=12)
    with Image.open(tmp_path / "a.png") as image:
        assert torch.equal(*(own(each, return_tensors="pt")["pixel_values"] for each in (image, DEEP)))
        with pytest.raises(ValueError, match="give the processor the path of the file"):
            own(image.convert("RGB"))
