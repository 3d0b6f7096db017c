"""Mixup and CutMix of a batch on its device, with label smoothing."""

from __future__ import annotations

import torch
from timm.data.mixup import Mixup, mixup_target
from torch import Tensor

from trainer.augmentation.transforms import seeded


class BatchMixing:
    """Mixup or CutMix with one draw per batch, each image mixed with its neighbour in the batch; labels smoothed.

    Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) by timm, with the paper's settings as defaults. The first
    image is mixed with the second, the third with the fourth, and so on: `TrainingSampler` puts partners there, and
    ranks that share a batch mix the pairs that one rank would. An odd batch keeps its last image unmixed, where timm
    refuses it.

    Args:
        num_classes: C.
        mixup_alpha: Beta parameter of Mixup, 0 for none. Default 0.8.
        cutmix_alpha: Beta parameter of CutMix, 0 for none. Default 1.0.
        probability: share of batches that are mixed. Default 1.0.
        label_smoothing: share of the label that is spread over all classes, mixed or not. Default 0.1.
        seed: draws are a function of (seed, step, micro_step). Default 0.
    """

    def __init__(
        self,
        num_classes: int,
        mixup_alpha: float = 0.8,
        cutmix_alpha: float = 1.0,
        probability: float = 1.0,
        label_smoothing: float = 0.1,
        seed: int = 0,
    ):
        self.seed = seed
        self._mixup = Mixup(
            mixup_alpha=mixup_alpha,
            cutmix_alpha=cutmix_alpha,
            prob=probability if mixup_alpha or cutmix_alpha else 0.0,
            switch_prob=0.5,
            label_smoothing=label_smoothing,
            num_classes=num_classes,
        )

    def __call__(self, images: Tensor, labels: Tensor, step: int, micro_step: int = 0) -> tuple[Tensor, Tensor]:
        """Mix one batch.

        Args:
            images: (B, 3, H, W).
            labels: (B,) class indices.
            step: optimiser step.
            micro_step: place in the accumulation of that step. Default 0.

        Returns:
            images (B, 3, H, W) and label distributions (B, C), in the order that `mirrored` gives.
        """
        even = len(images) // 2 * 2
        images, labels = mirrored(images), mirrored(labels)
        with seeded(self.seed, step, micro_step):
            mixed, targets = self._mixup(images[:even], labels[:even])
        if even == len(images):
            return mixed, targets
        last = mixup_target(labels[even:], self._mixup.num_classes, lam=1.0, smoothing=self._mixup.label_smoothing)
        return torch.cat([mixed, images[even:]]), torch.cat([targets, last])


def mirrored(batch: Tensor) -> Tensor:
    """A copy of a batch in which neighbours stand opposite one another: the first of each, then the second backward.

    timm mixes images that stand so. The last of an odd batch stays where it is.
    """
    even = len(batch) // 2 * 2
    return torch.cat([batch[:even:2], batch[1:even:2].flip(0), batch[even:]])
