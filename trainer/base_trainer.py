"""Base class of the student's and the teacher's trainer, on top of transformers' Trainer."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset as TorchDataset

from trainer.augmentation import DeviceImages, TrainingImages, TrainingSampler, collate
from trainer.augmentation.device_images import KEYS
from trainer.augmentation.transforms import hashed
from trainer.base_arguments import RunArguments
from trainer.callbacks import EpochCallback, HistoryCallback
from trainer.checkpoints import check_weights
from trainer.errors import CheckpointError, DataError, RunError, SettingError
from trainer.evaluating import EvaluatingTrainer
from trainer.ranks import from_first_rank, gather_files
from trainer.resuming import last_complete_checkpoint
from trainer.reweighting import effective_number_weights
from trainer.stopping import StopAtSignal
from trainer.workers import prepare_workers

SUMS_FILE = "sums_since_log.json"


class BaseTrainer(EvaluatingTrainer):
    """transformers' Trainer for long-tailed images: sampler, class weights, a report by head, mid and tail, a history
    file, and an error where the loss is not finite.

    Args:
        model: what is trained.
        args: `RunArguments`.
        counts: (C,) training images per class.
        boundaries: of head/mid/tail in the evaluation, as `head_mid_tail` takes them. Default: thirds.
        kwargs: as for `Trainer`.

    Raises:
        DataError: `drop_partial_batches` leaves no batch, or the training images have an order of their own.
        SettingError: `auto_find_batch_size` is set.
    """

    # A loss here is the mean of its batch: Trainer must divide it by the accumulation steps itself.
    loss_is_scaled_for_ga = False
    # Of each subclass: what to change if the loss is not finite.
    not_finite_advice: str

    def __init__(self, model: nn.Module, args: RunArguments, counts, boundaries=None, **kwargs):
        if args.auto_find_batch_size:  # Trainer's own search leaves accumulation, and so the learning rate, as it is
            raise SettingError(
                "auto_find_batch_size is for `deit-lt finetune`, which tries batches before it trains; set "
                "per_device_train_batch_size and gradient_accumulation_steps"
            )
        super().__init__(model, args, counts, boundaries, **{"data_collator": collate, **kwargs})
        self.model_accepts_loss_kwargs = False
        self.class_weights = effective_number_weights(counts, args.drw_beta).to(args.device)
        self.compiles = self._asked_to_compile()
        self._compiled: dict[nn.Module, Callable] = {}
        self.history = HistoryCallback()
        self.add_callback(self.history)
        self.add_callback(EpochCallback(self._begin_epoch))
        asked = self.train_dataset is not None and args.drop_partial_batches
        if asked and not isinstance(self._get_train_sampler(), TrainingSampler):
            raise DataError("drop_partial_batches is for TrainingImages; wrap the training data in it")

    def _asked_to_compile(self) -> bool:
        """Whether the networks of the training are compiled; where nobody says, they are not."""
        return self.args.torch_compile is True or self.args.torch_compile_mode is not None

    def for_training(self, network: nn.Module) -> Callable:
        """A network as the training calls it: where the training compiles, compiled for batches of one shape."""
        if not self.compiles:
            return network
        if network not in self._compiled:
            # The handle leaves the network itself as it was, for evaluations and checkpoints.
            self._compiled[network] = torch.compile(network, dynamic=False, mode=self.args.torch_compile_mode)
        return self._compiled[network]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as Trainer does; stop if the loss is not finite."""
        super().log(logs, start_time)
        if not math.isfinite(logs.get("loss", 0.0)):
            raise RunError(f"the loss is {logs['loss']} at step {self.state.global_step}; {self.not_finite_advice}")

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs):
        """Train as Trainer does, but to the end. SIGTERM saves a checkpoint first, and then does what it did before.

        Args:
            resume_from_checkpoint: a folder, or True for the newest complete checkpoint of `output_dir`.
            kwargs: as for `Trainer.train`.

        Raises:
            RunError: a callback stopped it before its end.
            CheckpointError: there is no complete checkpoint.
        """
        if resume_from_checkpoint is True:  # Trainer would take the newest, whole or not
            folder = self.args.output_dir
            resume_from_checkpoint = from_first_rank(lambda: last_complete_checkpoint(folder))
            if resume_from_checkpoint is None:
                raise CheckpointError(f"there is no complete checkpoint in {folder} to resume; begin the run anew")
        with StopAtSignal() as stop:
            self.add_callback(stop)
            try:
                output = super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
            finally:
                self.remove_callback(stop)
                self._end_workers()
                self.writer.wait()
        if stop.stopped:
            signal.raise_signal(signal.SIGTERM)
        if self.state.global_step < self.state.max_steps:
            raise RunError(
                f"the training was stopped at step {self.state.global_step} of {self.state.max_steps}; go on with "
                "--resume_from_checkpoint=true"
            )
        return output

    def get_batch_samples(self, *args, **kwargs):
        """Trainer's; then the generators of dropout and stochastic depth begin anew for the optimiser step."""
        batches = super().get_batch_samples(*args, **kwargs)
        self._seed_step()
        return batches

    def _seed_step(self) -> None:
        """Make what a step draws a function of seed and step, whatever workers, evaluations or a kill drew before."""
        torch.manual_seed(hashed(self.args.seed, self.state.global_step))

    def _get_dataloader(self, *args, **kwargs):
        """Trainer's, with workers that a signal to the whole job does not end before their run has saved, and that
        leave their parent's memory shared."""
        loader = super()._get_dataloader(*args, **kwargs)
        plain = getattr(loader, "base_dataloader", loader)
        prepare_workers(plain)
        if getattr(plain.dataset, "resident", False):
            plain.num_workers, plain.pin_memory = 0, False  # the images are on the device already
        return loader

    def _begin_epoch(self, epoch: int) -> None:
        if isinstance(self.train_dataset, DeviceImages):
            self.train_dataset.augment_epoch(epoch, self._get_train_sampler().rows(epoch))

    def _prepare_inputs(self, inputs: dict) -> dict:
        """Trainer's, of images whose augmentation is finished."""
        return super()._prepare_inputs(self.train_dataset.finish(inputs) if KEYS in inputs else inputs)

    def _save_rng_state(self, output_dir: str) -> None:
        """Trainer's, of all ranks by the first one: other machines need not have the folder."""
        gather_files(super()._save_rng_state, output_dir)
        sums = self.sums_since_log()
        if self.args.should_save:
            Path(output_dir, SUMS_FILE).write_text(json.dumps(sums) + "\n")

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Trainer's, right before the first step; what was summed up for the next log goes on too."""
        super()._load_rng_state(checkpoint)
        self._seed_step()
        file = Path(checkpoint, SUMS_FILE)
        if file.is_file():
            self.add_sums(json.loads(file.read_text()))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Trainer's.

        Raises:
            CheckpointError: the weights are those of another network, or not finite.
        """
        try:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        except RuntimeError as error:  # torch's word for shapes that differ
            raise CheckpointError(
                f"{resume_from_checkpoint} does not hold the weights of this model; name another one"
            ) from error
        if not self.is_fsdp_enabled:
            check_weights(resume_from_checkpoint, self.model)

    def sums_since_log(self) -> dict:
        """What the next log is made of, as JSON takes it: of all ranks, so it synchronises them."""
        loss = self.accelerator.reduce(self._tr_loss, "mean").item()
        return {"last_log": self._globalstep_last_logged, "loss": loss}

    def add_sums(self, sums: dict) -> None:
        """Go on from what `sums_since_log` gave."""
        self._globalstep_last_logged = sums["last_log"]
        self._tr_loss += sums["loss"]

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

    def _get_train_sampler(self, train_dataset: TorchDataset | None = None):
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        if not isinstance(dataset, TrainingImages):
            return super()._get_train_sampler(train_dataset)
        return TrainingSampler.for_run(self.args, len(dataset))

    def _get_grad_norm(self, model, grad_norm=None):
        """The norm that clipping has computed anyway, or none: Trainer would compute it at every step for its log."""
        return None if grad_norm is None else super()._get_grad_norm(model, grad_norm)
