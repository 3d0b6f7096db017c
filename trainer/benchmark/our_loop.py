"""Our trainers, run as they always are, with a stopwatch that stops them between blocks of steps."""

from __future__ import annotations

from torch.utils.data import Dataset as TorchDataset
from transformers import TrainerCallback

from trainer.augmentation import collate
from trainer.base_arguments import RunArguments
from trainer.base_trainer import BaseTrainer
from trainer.benchmark.entry import Entry
from trainer.benchmark.stopwatch import Stopwatch
from trainer.teachers.training import teacher_trainer
from trainer.trainer import DeiTLTTrainer


class TurnCallback(TrainerCallback):
    """Tells the stopwatch of each optimiser step."""

    def __init__(self, stopwatch: Stopwatch):
        self.stopwatch = stopwatch

    def on_step_end(self, args, state, control, **kwargs):
        """Here the training stands still until its next turn."""
        self.stopwatch.step_done()


def train_by_us(entry: Entry, args: RunArguments, images: TorchDataset, stopwatch: Stopwatch) -> None:
    """Train a student or a teacher; arguments as for `train_by_timm`."""
    trainer = trainer_of(entry, args, images)
    get_batch_samples = trainer.get_batch_samples

    def timed_batch_samples(epoch_iterator, *others):
        return get_batch_samples(stopwatch.timed(epoch_iterator), *others)

    trainer.get_batch_samples = timed_batch_samples
    trainer.add_callback(TurnCallback(stopwatch))
    trainer.train()


def trainer_of(entry: Entry, args: RunArguments, images: TorchDataset) -> BaseTrainer:
    """The trainer that a run would have."""
    data = {"train_dataset": images, "data_collator": collate}
    if entry.case.student is None:
        return teacher_trainer(entry.classifier(args), args, entry.counts, **data)
    return DeiTLTTrainer(entry.student(args), args, entry.teacher(), **data)
