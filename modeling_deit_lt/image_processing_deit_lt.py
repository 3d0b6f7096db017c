"""Images that are not RGB photographs, as arrays and as a model sees them: one channel or many, of 8 or 16 bits."""

import os
from io import BytesIO
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, ImageSequence
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
UNKNOWN_RANGE = {"I": "32-bit integers", "F": "floating-point numbers"}
LONGEST = 100  # times the short side; resizing of the short side makes the long one grow with it
NUMPY_FILE = b"\x93NUMPY"


class DeiTLTImageProcessor(BaseImageProcessor):
    """
    Evaluation transform of images that are not RGB: short side to a size (bicubic, antialiased), centre crop, values
    scaled to 0 .. 1, mean and deviation of the training images.

    `pipeline` turns every image into RGB of 8 bits before a processor sees it. Grey images of 8 bits come through
    that unchanged; for 16 bits or many channels give the processor itself a path, an opened image or an array.

    Args:
        num_channels (`int`, *optional*, defaults to 1):
            Channels C of an image.
        bits (`int`, *optional*, defaults to 8):
            Values of 16-bit images go up to `2**bits - 1`, which becomes 1; those of 8-bit images up to 255, always.
        size (`dict[str, int]`, *optional*):
            `shortest_edge` in pixels; 256 if not given.
        crop_size (`dict[str, int]`, *optional*):
            `height` and `width` in pixels; 224 if not given.
        image_mean (`list[float]`, *optional*):
            (C,) of values from 0 to 1; 0.5 if not given.
        image_std (`list[float]`, *optional*):
            (C,); 0.5 if not given.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012 (as in the base class)

    def __init__(
        self,
        num_channels: int = 1,
        bits: int = 8,
        size: dict[str, int] | None = None,
        crop_size: dict[str, int] | None = None,
        image_mean: list[float] | None = None,
        image_std: list[float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_channels, self.bits = num_channels, bits
        self.size = dict(size or {"shortest_edge": 256})
        self.crop_size = dict(crop_size or {"height": 224, "width": 224})
        self.image_mean = list(image_mean or [0.5] * num_channels)
        self.image_std = list(image_std or [0.5] * num_channels)

    def preprocess(self, images: Any, return_tensors: str | None = None, **kwargs: Any) -> BatchFeature:
        """
        Prepares images for the model.

        Args:
            images: one or a list of: the path of an image file or of a `.npy` file, a PIL image, or an array or tensor
                of (H, W) or (H, W, C) whole numbers of 8 or 16 bits.
            return_tensors (`str`, *optional*):
                As for every image processor.

        Returns:
            [`BatchFeature`]: `pixel_values` of shape (B, C, height, width).

        Raises:
            `ValueError`: an image has other channels, or values whose range is not known.
        """
        given = images if isinstance(images, list | tuple) else [images]
        pixels = [self.prepared(self._channels(image)) for image in given]
        if return_tensors is not None:
            pixels = torch.stack(pixels).numpy()
        return BatchFeature({"pixel_values": pixels}, tensor_type=return_tensors)

    def prepared(self, pixels: np.ndarray) -> torch.Tensor:
        """(C, H, W) whole numbers to normalised (C, height, width) float32."""
        images = levels(pixels, self.bits)[None].float()
        height, width = images.shape[2:]
        short, long = min(height, width), max(height, width)
        edge = self.size["shortest_edge"]
        other = int(edge * long / short)
        resized = (edge, other) if height <= width else (other, edge)
        if resized != (height, width):
            images = F.interpolate(images, resized, mode="bicubic", antialias=True).clamp_(0, 255)
        height, width = self.crop_size["height"], self.crop_size["width"]
        top, left = (resized[0] - height) // 2, (resized[1] - width) // 2
        crop = images[0, :, top : top + height, left : left + width] / 255
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.image_mean, self.image_std))
        return (crop - mean) / std

    def _channels(self, image: Any) -> np.ndarray:
        if isinstance(image, str | os.PathLike):
            return read_channels(image, self.num_channels)
        if isinstance(image, Image.Image) and image.mode == "RGB" and image.format is None and self.bits > 8:
            raise ValueError(
                "an image that was turned into RGB has lost its 16 bits, as in a pipeline; give the processor the "
                "path of the file"
            )
        return as_channels(image, self.num_channels)


def read_channels(source: str | os.PathLike | bytes, num_channels: int) -> np.ndarray:
    """
    Reads an image file as it is stored.

    Args:
        source: path or contents of an image file that Pillow opens, or of a `.npy` file.
        num_channels (`int`): C.

    Returns:
        (C, H, W) array of `uint8` or `uint16`.

    Raises:
        `ValueError`: as `as_channels` and `wrong_header`; also whatever Pillow raises on broken files.
    """
    file = BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115 (closed below)
    with file:
        start = file.read(len(NUMPY_FILE))
        file.seek(0)
        if start == NUMPY_FILE:
            return as_channels(np.load(file, allow_pickle=False), num_channels)
        with Image.open(file) as image:
            if (wrong := wrong_header(image)) is not None:
                raise ValueError(wrong)
            return as_channels(image, num_channels)


def as_channels(image: Any, num_channels: int) -> np.ndarray:
    """
    An image's values, channel by channel.

    One channel: the grey values of any image, of 16 bits where it has them; of an animation the first. More: the pages
    of a TIFF, one channel each, or the bands of an image that has as many.

    Args:
        image: a PIL image, or an array or tensor of (H, W) or (H, W, C).
        num_channels (`int`): C.

    Returns:
        (C, H, W) array of `uint8` or `uint16`.

    Raises:
        `ValueError`: another number of channels, values that are not whole numbers of 8 or 16 bits, or 16 bits that
            Pillow would cut.
    """
    if not isinstance(image, Image.Image):
        return _of_array(np.asarray(image), num_channels)
    bands, pages = image.getbands(), getattr(image, "n_frames", 1)
    if len(bands) > 1 and any(";16" in str(tile) for tile in getattr(image, "tile", ())):
        raise ValueError(
            "of 16 bits in several bands Pillow keeps 8; save it as .npy, or as a TIFF with a page for each"
        )
    if num_channels == 1 and (pages == 1 or image.format != "TIFF"):
        return _grey(image)[None]
    if pages == num_channels:
        if len(bands) > 1:
            raise ValueError(f"its pages are of the mode {image.mode}; a page of a channel is grey")
        found = [_grey(page) for page in ImageSequence.Iterator(image)]
        if len({(page.shape, page.dtype) for page in found}) > 1:
            raise ValueError("its pages differ in size or depth; save them alike")
        return np.stack(found)
    if len(bands) != num_channels or pages > 1 or image.mode == "P":
        shown = f"{pages} page{'s' * (pages > 1)} of the mode {image.mode}"
        raise ValueError(f"the image has {shown}, not {num_channels} channel{'s' * (num_channels > 1)}")
    return np.ascontiguousarray(np.asarray(_upright(image)).transpose(2, 0, 1))


def levels(pixels: np.ndarray, bits: int) -> torch.Tensor:
    """
    Values on the scale of 0 to 255 that augmentation and normalisation count in.

    Args:
        pixels: (C, H, W) `uint8` or `uint16`.
        bits (`int`): `2**bits - 1` of 16-bit images becomes 255, what is above too.

    Returns:
        (C, H, W), `uint8` where `bits` is 8, else `float32` with the fractions that 16 bits have.
    """
    if pixels.dtype == np.uint16:
        scaled = torch.from_numpy(pixels.astype(np.float32) * np.float32(255 / (2**bits - 1))).clamp_(max=255)
        return scaled.to(torch.uint8) if bits == 8 else scaled
    whole = torch.from_numpy(np.ascontiguousarray(pixels))
    return whole if bits == 8 else whole.float()


def _upright(image: Image.Image) -> Image.Image:
    """As viewers show it, by its EXIF tag."""
    return ImageOps.exif_transpose(image) if image.getexif().get(0x0112) is not None else image


def _grey(image: Image.Image) -> np.ndarray:
    """(H, W) `uint8` or `uint16`."""
    if (unknown := unknown_range(image)) is not None:
        raise ValueError(unknown)
    deep, upright = is_sixteen_bits(image), _upright(image)
    return np.asarray(upright).astype(np.uint16) if deep else np.array(upright.convert("L"))


def is_sixteen_bits(image: Image.Image) -> bool:
    """Whether an image is grey with 16 bits; PGM files of 16 bits are opened as 32-bit integers up to 65535."""
    return image.mode in SIXTEEN_BITS or (image.mode == "I" and getattr(image, "format", None) == "PPM")


def unknown_range(image: Image.Image) -> str | None:
    """What is wrong with an image whose largest possible value nobody knows; None for any other."""
    if image.mode not in UNKNOWN_RANGE or is_sixteen_bits(image):
        return None
    return (
        f"its pixels are {UNKNOWN_RANGE[image.mode]}, whose range is not known; save the images with 8 bits, or grey "
        "with 16 bits, all scaled alike"
    )


def wrong_header(image: Image.Image) -> str | None:
    """
    What an image must not be, seen before it is decoded; None where nothing is wrong.

    Args:
        image: opened, not loaded.
    """
    width, height = image.size
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        return f"{width} x {height} pixels are too many to decode; make it smaller"
    if max(width, height) > LONGEST * min(width, height):
        return f"{width} x {height} pixels: longer than {LONGEST} times its short side; crop it"
    if image.format == "EPS":
        return "it is PostScript, a program that Pillow would run; save it as PNG"
    return None


def _of_array(array: np.ndarray, num_channels: int) -> np.ndarray:
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    shaped = native[..., None] if native.ndim == 2 else native
    if shaped.ndim != 3 or shaped.shape[2] != num_channels:
        raise ValueError(
            f"the array has the shape {array.shape}, not (height, width, {num_channels})"
            + (" or (height, width)" if num_channels == 1 else "")
        )
    if shaped.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"its values are {array.dtype}, whose range is not known; save them as uint8 or uint16")
    if 0 in shaped.shape:
        raise ValueError(f"the array has the shape {array.shape}, so there are no pixels")
    return np.ascontiguousarray(shaped.transpose(2, 0, 1))


__all__ = ["DeiTLTImageProcessor", "as_channels", "levels", "read_channels"]
