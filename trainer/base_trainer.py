"""What the student's and the teacher's trainer share, on top of transformers' Trainer."""

from __future__ import annotations

import math

from transformers import Trainer

from trainer.augmentation import TrainingSampler
from trainer.callbacks import HistoryCallback
from trainer.errors import DataError, RunError


class BaseTrainer(Trainer):
    """transformers' Trainer with a history file, no work that nobody asked for, and a stop where the loss is lost.

    Args:
        kwargs: as for `Trainer`; `args` is a `RunArguments`.

    Raises:
        DataError: `drop_partial_batches` leaves no batch, or the training images have an order of their own.
    """

    # A loss here is the mean of its batch: Trainer must divide it by the accumulation steps itself.
    loss_is_scaled_for_ga = False
    not_finite_advice = "lower learning_rate"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = False
        self.history = HistoryCallback()
        self.add_callback(self.history)
        asked = self.train_dataset is not None and self.args.drop_partial_batches
        if asked and not isinstance(self._get_train_sampler(), TrainingSampler):
            raise DataError("drop_partial_batches is for TrainingImages; wrap the training data in it")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as Trainer does; stop if the loss is not finite."""
        super().log(logs, start_time)
        if not math.isfinite(logs.get("loss", 0.0)):
            raise RunError(f"the loss is {logs['loss']} at step {self.state.global_step}; {self.not_finite_advice}")

    @property
    def images_per_epoch(self) -> int:
        """Images that an epoch trains on; with `drop_partial_batches` fewer than there are."""
        return len(self._get_train_sampler())

    def images_per_second(self, seconds: float) -> float:
        """Training images of this process, without those before it was resumed, over its seconds of training."""
        share = (self.state.global_step - self.history.first_step) / self.state.max_steps
        return self.images_per_epoch * self.args.num_train_epochs * share / seconds

    def floating_point_ops(self, inputs) -> int:
        """Not counted: Trainer's estimate is made for text and is nonsense for images."""
        return 0

    def _get_grad_norm(self, model, grad_norm=None):
        """The norm that clipping has computed anyway, or none: Trainer would compute it at every step for its log."""
        return None if grad_norm is None else super()._get_grad_norm(model, grad_norm)
