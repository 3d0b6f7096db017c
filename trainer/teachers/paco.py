"""PaCo (Cui et al., ICCV 2021, arXiv 2107.12028): momentum encoder, queue and MLP head around a timm model."""

from __future__ import annotations

import copy

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_nn
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.losses import PaCoLoss
from trainer.teachers.trainer import TeacherTrainer


class PaCo(nn.Module):
    """A classifier with what PaCo needs to train it; the classifier alone is the teacher that is saved.

    The linear classifier's rows are the parametric class centres. An MLP head (D, D with BatchNorm, `dim`) makes the
    features that are compared; a copy of backbone and head follows with momentum and makes the keys of the queue.
    Initialisation is the authors' code's: the head's last layer as the network makes a classifier of its own (Kaiming
    for CIFAR ResNets), its first one and the class centres by torch's default.

    Args:
        classifier: a timm model of C classes that ends in a linear layer.
        dim: length of the features that are compared. Default 32 (CIFAR; 128 for ResNet-50).
        queue_size: K, keys of earlier images that are remembered. Default 1024 (CIFAR; 8192 for ImageNet-LT).
        momentum: of the key encoder. Default 0.999.
    """

    def __init__(self, classifier: nn.Module, dim: int = 32, queue_size: int = 1024, momentum: float = 0.999):
        super().__init__()
        width = classifier.get_classifier().in_features
        twin = copy.deepcopy(classifier)
        twin.reset_classifier(dim)
        self.classifier = classifier
        self.classifier.get_classifier().reset_parameters()
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True), twin.get_classifier()
        )
        self.key_classifier = copy.deepcopy(classifier).requires_grad_(False)
        self.key_head = copy.deepcopy(self.head).requires_grad_(False)
        self.momentum = momentum
        self.register_buffer("queue", torch.zeros(queue_size, dim))
        self.register_buffer("queue_labels", torch.full((queue_size,), -1))
        self.register_buffer("queue_place", torch.zeros((), dtype=torch.long))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        """(B, 3, H, W) images to (B, C) logits and, in training, (B, dim) queries of length 1."""
        if not self.training:
            return self.classifier(images)
        features = _features(self.classifier, images)
        return self.classifier.get_classifier()(features), F.normalize(self.head(features).float())

    @torch.no_grad()
    def keys(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) second views to (B, dim) keys of length 1."""
        return F.normalize(self.key_head(_features(self.key_classifier, images)).float())

    @torch.no_grad()
    def follow(self) -> None:
        """Move the key encoder toward the query encoder, by 1 - momentum."""
        ours = [*self.classifier.parameters(), *self.head.parameters()]
        keys = [*self.key_classifier.parameters(), *self.key_head.parameters()]
        torch._foreach_lerp_(keys, [p.detach() for p in ours], 1 - self.momentum)

    @torch.no_grad()
    def enqueue(self, keys: Tensor, labels: Tensor) -> None:
        """Put (N, dim) keys and (N,) labels in the place of the oldest."""
        keys, labels = keys[-len(self.queue) :], labels[-len(self.queue) :]
        places = (self.queue_place + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[places] = keys.to(self.queue.dtype)
        self.queue_labels[places] = labels
        self.queue_place.copy_((self.queue_place + len(keys)) % len(self.queue))


def _features(model: nn.Module, images: Tensor) -> Tensor:
    return model.forward_head(model.forward_features(images), pre_logits=True)


class PaCoTrainer(TeacherTrainer):
    """Trains a `PaCo` on two views of each image.

    Once per optimiser step the key encoder follows, before the first image, and the step's keys enter the queue, after
    the last; both passes of SAM see the same keys. Queries and keys of all ranks are contrasted, with gradients, so
    several ranks have the loss of one with the joined batch, as far as no BatchNorm is in between: its statistics are
    each rank's own, as in the authors' code, whose shuffling of keys between ranks is left out. With accumulation the
    contrast is within the micro-batch and the queue.

    Args:
        model: a `PaCo`.
        args, counts, boundaries, kwargs: as for `TeacherTrainer`; the training set gives a `second_view` too.
    """

    def __init__(self, model: PaCo, args, counts, boundaries=None, **kwargs):
        super().__init__(model, args, counts, boundaries, **kwargs)
        self.criterion = PaCoLoss(counts, args.paco_alpha, args.paco_beta, args.paco_temperature).to(args.device)

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Keys first, which have no gradient; the queue moves on after the step."""
        if not self.step_inputs:
            self.model.follow()
        inputs = self._prepare_inputs(inputs)
        model.train()  # as Trainer does further on, which is after the keys
        with self.accelerator.autocast():
            keys = self.model.keys(self.channels_last(inputs.pop("second_view")))
        inputs["keys"] = self.accelerator.gather(keys)
        inputs["all_labels"] = self.accelerator.gather(inputs["labels"])
        return super().training_step(model, inputs, num_items_in_batch)

    def end_of_step(self) -> None:
        """Put the step's keys into the queue."""
        for inputs in self.step_inputs:
            self.model.enqueue(inputs["keys"], inputs["all_labels"])
        super().end_of_step()

    def training_loss(self, model, inputs) -> torch.Tensor:
        """PaCo's loss of one batch, every rank's queries and keys and the queue as contrast."""
        logits, queries = self.outputs(model, inputs["pixel_values"])
        all_queries = _gather_with_gradient(queries)
        contrast = torch.cat([all_queries, inputs["keys"], self.model.queue])
        contrast_labels = torch.cat([inputs["all_labels"], inputs["all_labels"], self.model.queue_labels])
        own = torch.arange(len(queries), device=queries.device) + self.args.process_index * len(queries)
        return self.criterion(logits, queries, inputs["labels"], contrast, contrast_labels, own)


def _gather_with_gradient(queries: Tensor) -> Tensor:
    """(B, D) of each rank to (R B, D), in the order of the ranks; gradients flow back to their ranks."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return queries
    return torch.cat(dist_nn.all_gather(queries))
