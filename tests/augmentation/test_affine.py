"""RandomAffine of stacks: Pillow's pixels and torchvision's parameters."""

import pytest
import torch
from stack_images import difference, generator, noise, pillow, scene
from torchvision.transforms import InterpolationMode, RandomAffine
from torchvision.transforms import functional as one

from trainer.augmentation import affine, seeded
from trainer.augmentation.transforms import AFFINE


@pytest.mark.parametrize("size", [8, 17, 32])
@pytest.mark.parametrize("picture", [noise, lambda count, size: scene(size).expand(count, -1, -1, -1)])
def test_pixels_are_pillows(size, picture):
    """Also those of white images, whose edge shows which pixels come from outside."""
    with seeded(0):
        ranges = (-12, 12), AFFINE["translate"], AFFINE["scale"], (-8, 8)
        drawn = [RandomAffine.get_params(*ranges, [size, size]) for _ in range(60)]
    angles, shifts, scales, shears = (torch.tensor(column) for column in zip(*drawn, strict=True))
    matrices = affine._inverses(angles, shifts, scales, shears[:, 0]).float()
    for images in (picture(60, size), torch.full((60, 3, size, size), 255, dtype=torch.uint8)):
        result = affine.affine(images, {"affine": matrices}, (0, 90, 255))
        for image, warped, parameters in zip(images, result, drawn, strict=True):
            expected = one.affine(
                pillow(image), *parameters, interpolation=InterpolationMode.BILINEAR, fill=(0, 90, 255)
            )
            assert difference(warped, expected).max() <= 1


def test_parameters_are_torchvisions_in_distribution():
    """The matrices: mean and variance of each number and of products of two."""
    count, size = 20_000, 32
    ours = affine.draw_affine(size, count, generator())["affine"].double().flatten(1)
    with seeded(0):
        ranges = (-12, 12), AFFINE["translate"], AFFINE["scale"], (-8, 8)
        drawn = [RandomAffine.get_params(*ranges, [size, size]) for _ in range(5_000)]
    theirs = [one._get_inverse_affine_matrix([0, 0], *parameters) for parameters in drawn]
    theirs = torch.tensor(theirs).double()
    centre = ours.mean(0)
    for moment in (lambda m: m - centre, lambda m: ((m - centre)[:, None] * (m - centre)[..., None]).flatten(1)):
        a, b = moment(ours), moment(theirs)
        error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() < 5 * error).all()


def test_shifts_are_whole_pixels_up_to_a_tenth():
    matrices = affine.draw_affine(32, 5_000, generator())["affine"].double()
    shifts = -torch.linalg.solve(matrices[:, :, :2], matrices[:, :, 2])
    assert (shifts - shifts.round()).abs().max() < 1e-4
    assert set(shifts.round().flatten().int().tolist()) == set(range(-3, 4))
