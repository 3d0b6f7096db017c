"""One way from what Pillow opens to the RGB image of 8 bits that is trained and tested on.

Of an animated GIF, WebP or PNG and of a TIFF with several pages the first image counts, as Pillow opens it.
"""

import numpy as np
from PIL import Image

from ..errors import DataError

SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
UNKNOWN_RANGE = {"I": "32-bit integers", "F": "floating-point numbers"}
SMALL_PART = 2**14  # of 16 bits: below it 64 of 256 grey levels or fewer are left
LONGEST = 100  # times the short side; the test's resizing of the short side makes the long one grow with it


def as_rgb(image: Image.Image) -> Image.Image:
    """An image in RGB, 8 bits a channel.

    Grey images of 16 bits are scaled by their whole range, 65535 to 255, where Pillow's `convert("RGB")` would make
    all above 255 white. Of colour images of 16 bits Pillow keeps the upper 8 bits when it opens them. Transparency is
    dropped, palettes, CMYK, 1 bit and other modes are converted by Pillow.

    Args:
        image: of any mode.

    Raises:
        DataError: pixels of 32-bit integers or floating-point numbers, whose range nobody knows; with the file, if
            the image knows it.
    """
    if image.mode[0] not in "IF":  # by far the most, so they are not asked more
        return image.convert("RGB")
    if is_sixteen_bits(image):
        # 65535 is 257 * 255, so this is the nearest whole number; it never lies halfway.
        pixels = (np.asarray(image).astype(np.uint32) + 128) // 257
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    else:
        file = getattr(image, "filename", "")
        raise DataError(f"{file}{': ' if file else ''}{unknown_range(image)}")
    return image.convert("RGB")


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
    """What an image must not be, seen before it is decoded; None where nothing is wrong.

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
