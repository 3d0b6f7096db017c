"""The loss equations, on plain tensors: distillation of the two experts, and the teacher's LDAM loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DistillationLossOutput(NamedTuple):
    """Scalars of one batch: `loss` is what is minimised, the parts come without their factors alpha and 1 - alpha."""

    loss: Tensor
    cls_loss: Tensor
    dist_loss: Tensor


class DistillationLoss(nn.Module):
    """The DeiT-LT loss, `(1 - alpha) * CE(cls, label) + alpha * L_dist(dist, teacher)`, in float32.

    DeiT-LT (CVPR 2024, arXiv 2404.02900), equations 1 to 4. The CLS expert learns the ground truth, mixed or not; the
    DIST expert learns the teacher's opinion of the very same images:

    - `hard`: cross-entropy with the teacher's arg max. With class weights it is the weighted mean
      `sum_i w[y_i] * CE_i / sum_i w[y_i]`, y_i the *teacher's* label. The mean runs over the batch at hand, so with
      accumulation or several ranks it is a mean of weighted means, as in the official code, unless `weight_sum` gives
      the denominator; without weights both are exactly the loss of the joined batch.
    - `soft`: `T^2 * KL(teacher || dist)` at temperature T. Class weights re-weight the teacher's *probabilities*,
      `q_c = w_c p_c / sum_k w_k p_k`, which stay a distribution (weights on log-probabilities would not).

    Without teacher logits the ground truth takes the teacher's place: the baseline student "without a teacher".

    Args:
        alpha: share of the DIST loss, in [0, 1]. Default 0.5 (the paper's).
        distillation_type: "hard" (the paper's, default) or "soft".
        temperature: T of the soft loss, > 0; unused by the hard one. Default 1.0.
        class_weights: (C,) weights of the DIST loss from the DRW epoch on, or None (default) for equal weights.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        distillation_type: str = "hard",
        temperature: float = 1.0,
        class_weights: Tensor | None = None,
    ):
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
        if distillation_type not in ("hard", "soft"):
            raise ValueError(f"distillation_type must be 'hard' or 'soft', got {distillation_type!r}")
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.alpha = alpha
        self.distillation_type = distillation_type
        self.temperature = temperature
        weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights)

    def forward(
        self,
        cls_logits: Tensor,
        distillation_logits: Tensor,
        labels: Tensor,
        teacher_logits: Tensor | None = None,
        weight_sum: Tensor | None = None,
    ) -> DistillationLossOutput:
        """Compute the loss of one batch.

        Args:
            cls_logits: (B, C) of the CLS expert.
            distillation_logits: (B, C) of the DIST expert.
            labels: (B,) class indices, or (B, C) mixed and smoothed label distributions.
            teacher_logits: (B, C), or None for a student without a teacher.
            weight_sum: denominator of the weighted mean of hard distillation with class weights, not used elsewhere.
                Default: the weights that this batch's labels carry.

        Returns:
            A `DistillationLossOutput` of float32 scalars.
        """
        cls_loss = F.cross_entropy(cls_logits.float(), labels)
        if teacher_logits is None or self.distillation_type == "hard":
            dist_labels = self._dist_labels(labels, teacher_logits)
            dist_loss = weighted_cross_entropy(distillation_logits, dist_labels, self.class_weights, weight_sum)
        else:
            dist_loss = self._soft_loss(distillation_logits, teacher_logits)
        return DistillationLossOutput((1 - self.alpha) * cls_loss + self.alpha * dist_loss, cls_loss, dist_loss)

    def weight_sum(self, labels: Tensor, teacher_logits: Tensor | None = None) -> Tensor:
        """The class weights that the DIST expert's labels of a batch carry, summed: the hard loss's denominator."""
        return label_weight_sum(self._dist_labels(labels, teacher_logits), self.class_weights)

    @staticmethod
    def _dist_labels(labels: Tensor, teacher_logits: Tensor | None) -> Tensor:
        return labels if teacher_logits is None else teacher_logits.argmax(dim=-1)

    def _soft_loss(self, distillation_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        probabilities = F.softmax(teacher_logits.float() / self.temperature, dim=-1)
        if self.class_weights is not None:
            probabilities = probabilities * self.class_weights
            probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
        log_student = F.log_softmax(distillation_logits.float() / self.temperature, dim=-1)
        return self.temperature**2 * F.kl_div(log_student, probabilities, reduction="batchmean")

    def formula(self, teacher: bool = True) -> str:
        """The loss with its numbers in words, with or without a teacher."""
        if not teacher:
            dist = "CE(DIST, label)"
        elif self.distillation_type == "hard":
            dist = "CE(DIST, teacher's arg max)"
        else:
            dist = f"{self.temperature**2:g} * KL(teacher || DIST) at T = {self.temperature:g}"
        return f"{1 - self.alpha:g} * CE(CLS, label) + {self.alpha:g} * {dist}"


def label_weight_sum(labels: Tensor, class_weights: Tensor) -> Tensor:
    """The class weights (C,) that labels carry, summed: class indices (B,) or distributions (B, C)."""
    return class_weights[labels].sum() if labels.ndim == 1 else (labels * class_weights).sum()


def weighted_cross_entropy(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None, weight_sum: Tensor | None = None
) -> Tensor:
    """Cross-entropy as a weighted mean, for class indices and for label distributions alike.

    `F.cross_entropy(weight=)` divides by the picked weights for indices but by B for distributions; a one-hot
    distribution must give what its index gives, so here both are divided by the weights that the labels carry.

    Args:
        logits: (B, C).
        labels: (B,) class indices or (B, C) distributions.
        class_weights: (C,) or None for the plain mean.
        weight_sum: what the weighted sum is divided by. Default: `label_weight_sum` of this batch.
    """
    logits = logits.float()
    if class_weights is None:
        return F.cross_entropy(logits, labels)
    if weight_sum is None:
        weight_sum = label_weight_sum(labels, class_weights)
    if labels.ndim == 1:
        return F.cross_entropy(logits, labels, weight=class_weights, reduction="sum") / weight_sum
    return -(labels * class_weights * F.log_softmax(logits, dim=-1)).sum() / weight_sum


class LDAMLoss(nn.Module):
    """Label-distribution-aware margin loss: cross-entropy after lowering the true class's cosine by its margin.

    LDAM-DRW, Cao et al., NeurIPS 2019 (arXiv 1906.07413), equations 12 and 13: the margin of class j is proportional
    to `n_j ** (-1/4)` and the largest is `max_margin`. It expects the logits of a cosine classifier, `scale * cos`.

    Args:
        counts: (C,) training images per class, each at least 1.
        max_margin: margin of the smallest class, in cosine units. Default 0.5 (CIFAR; 0.3 for ImageNet-LT).
        scale: the s that the classifier has already multiplied its cosines with. Default 30.
    """

    def __init__(self, counts, max_margin: float = 0.5, scale: float = 30.0):
        super().__init__()
        margins = torch.as_tensor(counts, dtype=torch.float32) ** -0.25
        self.register_buffer("scaled_margins", scale * max_margin * margins / margins.max())

    def forward(self, logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
        """Args: logits (B, C), scale times cosine; labels (B,); DRW weights (C,) or None. Returns the mean loss."""
        logits = logits.float()
        lowered = logits.scatter_add(1, labels[:, None], -self.scaled_margins[labels, None])
        return weighted_cross_entropy(lowered, labels, class_weights)


class PaCoLoss(nn.Module):
    """Parametric contrastive loss: supervised contrast of features in which class centres take part.

    PaCo, Cui et al., ICCV 2021 (arXiv 2107.12028), equations 3 to 5, with the class prior that the authors' code adds
    to the centre logits in training. For anchor i the candidates are the C class centres, with the logits
    `z_ic + log(n_c / n)`, and the contrast features with the logits `q_i . f_j / T`. The loss is the weighted mean of
    `-log softmax` over the positives: the own class centre with weight `beta`, every contrast feature of the own class
    with weight `alpha`. Being itself no candidate, the anchor's own query is left out.

    Args:
        counts: (C,) training images per class, each at least 1.
        alpha: weight of a positive that is a feature. Default 0.01 (CIFAR; 0.05 for ImageNet-LT).
        beta: weight of the positive that is the class centre. Default 1.
        temperature: T of the features; the centre logits have none. Default 0.05 (CIFAR; 0.2 for ImageNet-LT).
    """

    def __init__(self, counts, alpha: float = 0.01, beta: float = 1.0, temperature: float = 0.05):
        super().__init__()
        counts = torch.as_tensor(counts, dtype=torch.float32)
        self.register_buffer("log_prior", (counts / counts.sum()).log())
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature

    def forward(
        self, logits: Tensor, queries: Tensor, labels: Tensor, contrast: Tensor, contrast_labels: Tensor, own: Tensor
    ) -> Tensor:
        """The mean loss over the anchors, in float32.

        Args:
            logits: (B, C) of the class centres, without prior.
            queries: (B, D) features of the anchors, of length 1.
            labels: (B,) class indices.
            contrast: (M, D) features of length 1: all queries, all keys and the queue.
            contrast_labels: (M,) class indices; -1 for a place of the queue that is still empty.
            own: (B,) places of the anchors' own queries in `contrast`.
        """
        with torch.autocast(queries.device.type, enabled=False):  # it would multiply in bf16 what is float32
            similarities = queries.float() @ contrast.float().T / self.temperature
        is_candidate = (contrast_labels >= 0).expand_as(similarities).scatter(1, own[:, None], False)
        similarities = similarities.masked_fill(~is_candidate, -torch.inf)
        log_p = torch.cat([logits.float() + self.log_prior, similarities], dim=1).log_softmax(dim=1)
        is_positive = is_candidate & (contrast_labels == labels[:, None])
        of_centres = self.beta * log_p.gather(1, labels[:, None]).squeeze(1)
        of_features = self.alpha * log_p[:, logits.shape[1] :].masked_fill(~is_positive, 0).sum(dim=1)
        return -((of_centres + of_features) / (self.beta + self.alpha * is_positive.sum(dim=1))).mean()
