"""Images for tests of image operations, and what Pillow makes of them."""

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as one


def pictures(size: int) -> Tensor:
    """(5, 3, size, size) uint8: noise, a scene with edges and gradients, little contrast, few values, one colour."""
    generator = torch.Generator().manual_seed(size)

    def noise(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (3, size, size), generator=generator)

    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    scene = torch.stack([60 + 110 * x, 30 + 100 * y * x, 170 - 90 * y])
    scene[:, size // 4 : size // 2, size // 8 : size // 2] = torch.tensor([230.0, 120.0, 20.0]).view(3, 1, 1)
    even = torch.tensor([77, 200, 3]).view(3, 1, 1).expand(3, size, size)
    return torch.stack([noise(0, 256), scene.long(), noise(100, 131), 90 * noise(0, 3), even]).to(torch.uint8)


def pillow_each(images: Tensor, operation: Callable[[Image.Image], Image.Image]) -> Tensor:
    """An operation of Pillow on each of (n, 3, S, S) uint8 images."""
    return torch.stack([one.pil_to_tensor(operation(one.to_pil_image(image))) for image in images])


def assert_equal_but_for_cut_fractions(images: Tensor, expected: Tensor, share: float) -> None:
    """Equal, or one grey level above Pillow at such a share of the values.

    Pillow cuts fractions off in float64, also where rounding left 99.99... of a whole number; ours stay whole there.
    """
    assert set((images.int() - expected.int()).unique().tolist()) <= {0, 1}
    assert (images != expected).float().mean() <= share
