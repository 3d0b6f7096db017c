"""Stacks of pictures and how to compare them, for the tests of the transforms of stacks."""

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as one


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, height: int = 32, width: int | None = None, seed: int = 0) -> Tensor:
    shape = (count, 3, height, width or height)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(seed))


def scene(size: int = 32) -> Tensor:
    """A picture with gradients, edges, colours and fine texture, and no symmetry."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    picture = torch.stack([60 + 110 * x, 30 + 100 * y * x, 170 - 90 * y])
    picture[:, size // 4 : size // 2, size // 8 : size // 2] = torch.tensor([230.0, 120.0, 20.0]).view(3, 1, 1)
    picture[:, size * 5 // 8 :, size // 2 :] += 80 * noise(1, size)[0, :, size * 5 // 8 :, size // 2 :] / 255
    return picture.to(torch.uint8)


def pillow(image: Tensor) -> Image.Image:
    return one.to_pil_image(image)


def difference(image: Tensor, picture: Image.Image | Tensor) -> Tensor:
    """Grey levels between two images, pixel by pixel."""
    if isinstance(picture, Image.Image):
        picture = one.pil_to_tensor(picture)
    return (image.int() - picture.int()).abs()


def largest_difference(image: Tensor, picture: Image.Image | Tensor) -> int:
    return difference(image, picture).max().item()


def check_near(images: Tensor, pictures: list[Image.Image]) -> None:
    """The same but for rounding: one grey level in some pixels, and two in one of 10,000.

    Resizes round between the two directions as well; bicubic weights of more than 1 may add to that.
    """
    apart = torch.stack([difference(image, picture) for image, picture in zip(images, pictures, strict=True)])
    assert apart.max() <= 2
    assert (apart > 0).float().mean() < 0.02
    assert (apart > 1).float().mean() < 1e-4
