"""The flatness report: the perturbation, the losses at perturbed weights, their summary and their plot."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn

from trainer.evaluation import plot_flatness
from trainer.teachers import Teacher
from trainer.teachers.flatness import filter_normalised_direction, flatness_curve, perturbed_losses

RADII = [0.0, 0.3, 1.0]


def batches(num_classes=3, sizes=(5, 4), seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(sum(sizes)) % num_classes
    images = torch.randn(len(labels), 3, 8, 8, generator=generator) + labels.view(-1, 1, 1, 1)
    return [{"pixel_values": x, "labels": y} for x, y in zip(images.split(sizes), labels.split(sizes), strict=True)]


def network(seed=0, num_classes=3):
    """Convolution, BatchNorm with statistics of its own, convolution with a bias, classifier."""
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(4, eps=1e-12)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(norm.weight)
    layers = nn.Conv2d(3, 4, 3, bias=False), norm, nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU()
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, num_classes)).eval()


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(model, before):
    return all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_every_filter_is_perturbed_by_its_own_norm_and_vectors_are_not():
    model = network()
    with torch.no_grad():
        model[0].weight[1] *= 100
        model[0].weight[2] = 0
    direction, weights = filter_normalised_direction(model, 0, 0), dict(model.named_parameters())
    assert set(direction) == {"0.weight", "3.weight", "7.weight"}
    for name, step in direction.items():
        torch.testing.assert_close(step.flatten(1).norm(dim=1), weights[name].flatten(1).norm(dim=1))
    moved, weight = (torch.cat([t.flatten() for t in ts]) for ts in (direction.values(), map(weights.get, direction)))
    torch.testing.assert_close(moved.norm(), weight.norm())
    assert abs(F.cosine_similarity(moved, weight, dim=0)) < 0.5  # a direction of its own


def test_directions_depend_on_seed_and_draw_alone():
    def draw(*numbers):
        return filter_normalised_direction(network(), *numbers)["3.weight"]

    first = draw(0, 1)
    torch.manual_seed(99)
    assert torch.equal(draw(0, 1), first)
    for other in ((1, 0), (0, 2), (1, 1)):
        assert F.cosine_similarity(draw(*other).flatten(), first.flatten(), dim=0) < 0.5


def test_a_linear_classifier_by_hand():
    """Logits at w + r d are those at w plus r times those at d: the loss needs no model."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    found = perturbed_losses(model, batches(), 3, RADII, draws=2, seed=5)
    images, labels = (torch.cat([batch[key] for batch in batches()]) for key in ("pixel_values", "labels"))
    assert found.shape == (3, 2, 3)
    for draw in range(2):
        step = filter_normalised_direction(model, 5, draw)["1.weight"]
        for r, radius in enumerate(RADII):
            losses = F.cross_entropy(
                model(images) + radius * images.flatten(1) @ step.T, labels, reduction="none"
            ).detach()
            expected = [losses[labels == c].mean() for c in range(3)]
            np.testing.assert_allclose(found[r, draw], expected, rtol=1e-5)


def test_radius_0_is_the_plain_loss_in_evaluation_mode():
    model = network()
    images, labels = (torch.cat([batch[key] for batch in batches()]) for key in ("pixel_values", "labels"))
    with torch.no_grad():
        losses = F.cross_entropy(model(images), labels, reduction="none")
    found = perturbed_losses(model.train(), batches(), 3, [0.0], draws=2)
    np.testing.assert_allclose(found[0], [[losses[labels == c].mean() for c in range(3)]] * 2, rtol=1e-5)


def test_batches_are_read_once_and_their_size_does_not_matter():
    one, several = (perturbed_losses(network(), iter(batches(sizes=s)), 3, RADII, draws=2) for s in ((9,), (4, 1, 4)))
    np.testing.assert_allclose(one, several, rtol=1e-5)


def test_a_class_without_images_is_nan():
    found = perturbed_losses(network(num_classes=4), batches(), 4, RADII, draws=2)
    assert np.isnan(found[..., 3]).all()
    assert np.isfinite(found[..., :3]).all()


def test_the_model_is_as_before_to_the_last_bit():
    model = network().train()
    before = state(model)
    found = perturbed_losses(model, batches(), 3, RADII, draws=2)
    assert len(np.unique(found)) > 9  # the weights did move in between
    assert same(model, before)


def test_the_model_is_as_before_after_a_failure():
    model, before = network(), state(network())
    model[6].register_forward_hook(lambda *_: 1 / 0)  # with perturbed weights already in place
    with pytest.raises(ZeroDivisionError):
        perturbed_losses(model, batches(), 3, [0.5], draws=1)
    assert same(model, before)
    assert all(isinstance(p, nn.Parameter) for p in model[0]._parameters.values() if p is not None)


def test_the_scale_of_a_convolution_before_batchnorm_does_not_matter():
    plain, scaled, factor = network(), network(), torch.tensor([10, 1, 0.1, 3])
    with torch.no_grad():
        scaled[0].weight *= factor.view(4, 1, 1, 1)
        scaled[1].running_mean *= factor
        scaled[1].running_var *= factor**2
    both = [perturbed_losses(model, batches(), 3, RADII, draws=3) for model in (plain, scaled)]
    np.testing.assert_allclose(*both, rtol=1e-4)


class Valley(nn.Module):
    """Right about every image as long as its weights stay within a width of where they are."""

    def __init__(self, width):
        super().__init__()
        self.weight, self.width = nn.Parameter(torch.ones(4, 6)), width

    def forward(self, images):
        distance = (self.weight - 1).square().sum() / self.width**2
        right = images.mean(dim=(1, 2, 3)).round().long().clamp(0, 2)
        return F.one_hot(right, 3) * (5 - distance)


def test_a_narrower_valley_rises_faster():
    flat, sharp = (
        flatness_curve(perturbed_losses(Valley(width), batches(), 3, RADII, draws=3), RADII, {})
        for width in (10.0, 2.0)
    )
    assert flat["loss"] == sharp["loss"]
    for r in (1, 2):
        assert sharp["all"][0][r] > 5 * flat["all"][0][r] > 0


def test_a_teacher_is_measured_as_it_is_used():
    """Its resizing, normalisation and class order apply."""
    settings = (8, (0.4, 0.5, 0.6), (0.1, 0.2, 0.3), "own", (2, 0, 1))
    found = perturbed_losses(Teacher(network(), *settings), batches(), 3, [0.0], draws=1)
    images, labels = (torch.cat([batch[key] for batch in batches()]) for key in ("pixel_values", "labels"))
    losses = F.cross_entropy(Teacher(network(), *settings)(images), labels, reduction="none")
    np.testing.assert_allclose(found[0, 0], [losses[labels == c].mean() for c in range(3)], rtol=1e-5)


def test_the_curve_is_the_mean_over_classes_and_the_deviation_over_draws():
    losses = np.full((2, 2, 4), np.nan, dtype=np.float32)
    losses[0, :, :3] = [1, 2, 6]
    losses[1, :, :3] = [[2, 4, 9], [4, 4, 19]]  # increases 1 2 3 and 3 2 13
    groups = {"head": np.array([2, 0]), "mid": np.array([1]), "tail": np.array([3])}
    curve = flatness_curve(losses, [0.0, 0.5], groups)
    assert curve["radius"] == [0.0, 0.5]
    assert curve["loss"] == {"all": 3, "head": 3.5, "mid": 2}
    assert "tail" not in curve  # its only class has no images
    for group, mean, std in (("all", 4, math.sqrt(8)), ("head", 5, math.sqrt(18)), ("mid", 2, 0)):
        assert curve[group][0] == pytest.approx([0, mean])
        assert curve[group][1] == pytest.approx([0, std])


@pytest.mark.parametrize(
    ("losses", "radii", "says"),
    [
        (np.zeros((2, 1, 3)), [0.0, 0.5], "two draws"),
        (np.zeros((2, 2, 3)), [0.1, 0.5], "radius 0"),
        (np.full((2, 2, 3), np.nan), [0.0, 0.5], "no class with images"),
    ],
)
def test_a_curve_of_nothing_is_refused(losses, radii, says):
    with pytest.raises(ValueError, match=says):
        flatness_curve(losses, radii, {})


def curve(slope, groups=("all", "head", "mid", "tail")):
    return {"radius": [0.0, 0.5, 1.0]} | {g: ([0, slope, 3 * slope], [0, 0.1, 0.2]) for g in groups}


@pytest.mark.filterwarnings("error")
def test_each_group_is_a_panel_and_each_teacher_a_line_with_its_band(tmp_path, monkeypatch):
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: (saved.append(figure), save(figure, *a, **k)))
    path = tmp_path / "plots" / "flatness.png"
    groups = ("all", "head", "tail")
    plot_flatness({"plain": curve(1.0, groups), "flat": curve(0.5, groups)}, path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    panels = saved[0].axes
    assert [axes.get_title() for axes in panels] == ["all classes", "head", "tail"]
    for axes in panels:
        assert [line.get_xydata().tolist() for line in axes.lines] == [
            [[0, 0], [0.5, 1], [1, 3]],
            [[0, 0], [0.5, 0.5], [1, 1.5]],
        ]
        assert axes.collections[1].get_datalim(axes.transData).bounds == pytest.approx((0, 0, 1, 1.7))
        assert axes.get_ylim() == panels[0].get_ylim()
    assert [text.get_text() for text in saved[0].legends[0].get_texts()] == ["plain", "flat"]


def test_no_teacher_no_plot(tmp_path):
    with pytest.raises(ValueError, match="no teacher to plot"):
        plot_flatness({}, tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []
