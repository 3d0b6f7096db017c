"""CIFAR ResNets (He et al., CVPR 2016, section 4.2), which timm does not have, registered with timm."""

from __future__ import annotations

import torch.nn.functional as F
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an option-A shortcut: every second pixel, new channels filled with zeros."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.new_channels = channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            before = self.new_channels // 2
            shortcut = F.pad(shortcut, (0, 0, 0, 0, before, self.new_channels - before))
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class CifarResNet(nn.Module):
    """A ResNet of 6n + 2 layers with 16, 32 and 64 channels for images of about 32 pixels.

    Args:
        blocks: n, blocks in each of the three stages.
        num_classes: C.
        in_chans: image channels. Default 3.
    """

    def __init__(self, blocks: int, num_classes: int = 10, in_chans: int = 3):
        super().__init__()
        self.num_classes, self.in_chans = num_classes, in_chans
        self.num_features = 64
        self.conv1 = nn.Conv2d(in_chans, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, stride=1)
        self.layer2 = self._stage(16, 32, blocks, stride=2)
        self.layer3 = self._stage(32, 64, blocks, stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        self.reset_classifier(num_classes)

    @staticmethod
    def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
        first = BasicBlock(in_channels, channels, stride)
        return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))

    def reset_classifier(self, num_classes: int) -> None:
        """A fresh classifier, Kaiming-initialised as the convolutions (LDAM-DRW's and PaCo's code); timm's name."""
        self.num_classes = num_classes
        self.fc = nn.Linear(self.num_features, num_classes)
        nn.init.kaiming_normal_(self.fc.weight)

    def get_classifier(self) -> nn.Module:
        """The classifier, as timm asks every model for it."""
        return self.fc

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) images to (B, 64, H / 4, W / 4) features."""
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 64, h, w) features to (B, C) logits, or to the (B, 64) pooled features that the classifier sees."""
        x = x.mean(dim=(2, 3))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) images to (B, C) logits."""
        return self.forward_head(self.forward_features(x))


def _cfg() -> dict:
    return {
        "url": "",
        "num_classes": 10,
        "input_size": (3, 32, 32),
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "conv1",
        "classifier": "fc",
    }


default_cfgs = generate_default_cfgs({f"resnet{depth}_cifar": _cfg() for depth in (8, 20, 32, 56)})


def _create(name: str, blocks: int, pretrained: bool, **kwargs) -> CifarResNet:
    return build_model_with_cfg(CifarResNet, name, pretrained, blocks=blocks, **kwargs)


@register_model
def resnet8_cifar(pretrained: bool = False, **kwargs) -> CifarResNet:
    """ResNet-8: one block a stage, for digits and tests."""
    return _create("resnet8_cifar", 1, pretrained, **kwargs)


@register_model
def resnet20_cifar(pretrained: bool = False, **kwargs) -> CifarResNet:
    """ResNet-20."""
    return _create("resnet20_cifar", 3, pretrained, **kwargs)


@register_model
def resnet32_cifar(pretrained: bool = False, **kwargs) -> CifarResNet:
    """ResNet-32, the paper's CIFAR teacher."""
    return _create("resnet32_cifar", 5, pretrained, **kwargs)


@register_model
def resnet56_cifar(pretrained: bool = False, **kwargs) -> CifarResNet:
    """ResNet-56."""
    return _create("resnet56_cifar", 9, pretrained, **kwargs)
