"""Initial weights are those of the sources: LDAM-DRW's cosine rows, Kaiming heads, PaCo's head and class centres."""

import math

import pytest
import timm
import torch
from torch import nn

from trainer.teachers import PaCo
from trainer.teachers.cosine import CosineClassifier


def close(tensor, std):
    """A sample's standard deviation within five of its standard errors, whatever the distribution (kurtosis <= 3)."""
    return tensor.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * tensor.numel()))


@pytest.mark.parametrize(("features", "classes"), [(64, 10), (64, 100), (2048, 1000)])
def test_rows_of_a_cosine_classifier_have_length_one(features, classes):
    torch.manual_seed(0)
    weight = CosineClassifier(features, classes).weight.detach()
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(classes))
    assert close(weight, 1 / math.sqrt(features))
    assert abs(weight.mean()) < 5 / math.sqrt(features * weight.numel())


def test_cifar_resnets_end_in_a_kaiming_layer():
    """Normal with variance 2 / 64; torch's default is uniform with variance 1 / (3 * 64)."""
    torch.manual_seed(0)
    head = timm.create_model("resnet8_cifar", num_classes=100).get_classifier()
    assert close(head.weight.detach(), math.sqrt(2 / 64))
    assert (head.weight.abs() > math.sqrt(2 / 64)).float().mean() == pytest.approx(0.317, abs=0.03)  # a normal's tails


@pytest.mark.parametrize(("architecture", "width"), [("resnet8_cifar", 64), ("resnet18", 512)])
def test_paco_starts_as_the_authors(architecture, width):
    """Last layer of the head as the network's own classifier, all else by torch's default; keys equal queries."""
    torch.manual_seed(0)
    model = PaCo(timm.create_model(architecture, num_classes=50), dim=32)
    first, _, _, last = model.head
    default = 1 / math.sqrt(width)  # bound of torch's uniform draw
    kaiming = math.sqrt(2 / width) if architecture.endswith("cifar") else default / math.sqrt(3)
    assert close(last.weight.detach(), kaiming)
    for layer in (first, model.classifier.get_classifier()):
        assert close(layer.weight.detach(), default / math.sqrt(3))
        assert layer.weight.abs().max() <= default
    pairs = [(model.classifier, model.key_classifier), (model.head, model.key_head)]
    for ours, keys in pairs:
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), keys.parameters(), strict=True))


def test_a_classifier_can_be_replaced_as_timm_does():
    model = timm.create_model("resnet8_cifar", num_classes=5)
    model.reset_classifier(7)
    assert model.num_classes == 7
    assert isinstance(model.get_classifier(), nn.Linear)
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 7)
