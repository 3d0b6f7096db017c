"""One way from what Pillow opens to the RGB image of 8 bits that is trained and tested on.

Of an animated GIF, WebP or PNG and of a TIFF with several pages the first image counts, as Pillow opens it.
"""

import numpy as np
from PIL import Image

from modeling_deit_lt import is_sixteen_bits, unknown_range

from ..errors import DataError

SMALL_PART = 2**14  # of 16 bits: below it 64 of 256 grey levels or fewer are left


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
