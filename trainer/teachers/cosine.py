"""The normalised classifier that LDAM trains, in place of any timm model's own."""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn


class CosineClassifier(nn.Module):
    """`scale * cos(features, class vector)`, without a bias: the classifier of LDAM (Cao et al., NeurIPS 2019).

    Args:
        num_features: D.
        num_classes: C.
        scale: LDAM's s. It is part of the module, so that its logits have a usable softmax. Default 30.
    """

    def __init__(self, num_features: int, num_classes: int, scale: float = 30.0):
        super().__init__()
        # Rows of length 1, drawn as in the authors' code. Logits ignore a row's length, but steps do not: the longer
        # it is, the less a step turns it.
        self.weight = nn.Parameter(F.normalize(torch.empty(num_classes, num_features).uniform_(-1, 1)))
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) features to (B, C) logits, in float32: times 30, a cosine in bf16 is off by up to 0.06."""
        with torch.autocast(features.device.type, enabled=False):
            return self.scale * F.linear(F.normalize(features.float()), F.normalize(self.weight.float()))


default_cfgs = generate_default_cfgs({"cosine_classifier": {"url": ""}})


@register_model
def cosine_classifier(pretrained: bool = False, **kwargs) -> nn.Module:
    """A timm model whose linear classifier is replaced by a `CosineClassifier`; timm opens a saved one by this name.

    Args:
        pretrained: load the weights that the configuration names, as timm does. Default False.
        kwargs: `backbone`, the timm model's name, `num_classes`, and what that model takes.

    Raises:
        ValueError: the model does not end in one linear layer.
    """
    return build_model_with_cfg(_with_cosine_classifier, "cosine_classifier", pretrained, **kwargs)


def _with_cosine_classifier(backbone: str, num_classes: int, **kwargs) -> nn.Module:
    model = timm.create_model(backbone, num_classes=num_classes, **kwargs)
    linear = model.get_classifier()
    if type(linear) is not nn.Linear:
        raise ValueError(f"{backbone} does not end in one linear layer, but in {type(linear).__name__}")
    name = next(name for name, module in model.named_modules() if module is linear)
    model.set_submodule(name, CosineClassifier(linear.in_features, num_classes))
    return model
