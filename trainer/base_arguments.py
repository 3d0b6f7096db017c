"""The settings that a student's and a teacher's training share, on top of transformers' TrainingArguments."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from transformers import TrainingArguments

from trainer.augmentation import PIPELINES, TRAIN_TRANSFORMS
from trainer.machine import PRECISIONS, bf16_is_fast, default_workers, device_in_words, most_workers
from trainer.settings import check_ranges, setting
from trainer.unused_settings import refuse_unused, refuse_unused_schedule_settings, refuse_wrong_checkpointing

RANGES = {
    "num_train_epochs": "(0, 1e6]",
    "warmup_epochs": "[0, inf)",
    "crop_ratio": "[0.1, 1]",  # below, the test enlarges its images until the memory is full
    "drw_beta": "[0, 1)",
    "seed": f"[0, {2**32})",
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), "[1, inf)"),
    "gradient_accumulation_steps": "[1, 1e6]",
    "dataloader_prefetch_factor": "[1, inf)",
    **dict.fromkeys(("save_steps", "eval_steps", "logging_steps"), "(0, inf)"),
    **dict.fromkeys(("save_total_limit", "eval_accumulation_steps", "ddp_bucket_cap_mb"), "[1, inf)"),
    "ddp_timeout": "[1, 1e9]",
    **dict.fromkeys(("weight_decay", "max_grad_norm", "eval_delay"), "[0, inf)"),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), "[0, 1)"),
    "adam_epsilon": "(0, inf)",
}


@dataclass
class RunArguments(TrainingArguments):
    """Base class of the arguments of students and teachers. Defaults that differ from TrainingArguments, and why:

    - `remove_unused_columns` False: the image column would be dropped before it is transformed.
    - `logging_nan_inf_filter` False: it reads the loss back from the device at every step; instead a run stops at the
      next log whose loss is not finite.
    - `max_grad_norm` 0: neither the paper nor its teachers' recipes clip gradients.
    - `seed` 0, `save_steps`, `eval_steps` and `logging_steps` a share of the run, `save_total_limit` 2.

    What follows from the settings is a property, and no setting is changed, so `dataclasses.replace` gives another
    run; but for what Trainer reads from its arguments alone and what follows from device and cores: the number of
    workers where none is given, three switches of the data loaders, and `mixed_precision`.
    """

    _argument_group_name = "Training (transformers.TrainingArguments and ours)"

    output_dir: str | None = setting(None, "Folder of the results; runs/<recipe> if not given.", decides=False)
    seed: int = setting(0, "Seed of initialisation, order, augmentation and mixing.")
    remove_unused_columns: bool = setting(
        False, "Must stay off: images are transformed when they are read.", decides=False
    )
    logging_nan_inf_filter: bool = setting(
        False, "Hide non-finite losses; costs a synchronisation per step.", decides=False
    )
    label_names: list[str] | None = setting(["labels"], "Must stay: a teacher's forward has no labels.", decides=False)
    max_grad_norm: float = setting(0.0, "Gradient clipping; 0 for none.")
    save_steps: float = setting(0.05, "Steps between checkpoints; below 1, a share of the run.", decides=False)
    eval_steps: float | None = setting(0.05, "Steps between evaluations; below 1, a share of the run.", decides=False)
    logging_steps: float = setting(0.02, "Steps between logs; below 1, a share of the run.", decides=False)
    save_total_limit: int | None = setting(2, "Checkpoints that are kept.", decides=False)
    per_device_eval_batch_size: int | None = setting(
        None, "Images of a device at a time in evaluation; twice those of training if not given.", decides=False
    )
    ddp_find_unused_parameters: bool | None = setting(False, "No parameter goes unused.", decides=False)
    dataloader_num_workers: int | None = setting(
        None, "Processes that transform images; not given: from the cores and the ranks.", decides=False
    )
    precision: str = setting(
        "auto",
        "Arithmetic of the networks. auto: bf16 where the GPU has it in hardware, else float32; of a teacher float32.",
        choices=["auto", *PRECISIONS],
    )
    bf16: bool | None = setting(None, "transformers' spelling of precision bf16; false: float32.")
    fp16: bool | None = setting(None, "transformers' spelling of precision fp16; false: float32.")
    torch_compile: bool | Literal["auto"] = setting(
        "auto", "Compile the networks; auto: a student in a long run on a GPU, or in bf16 on a CPU that has it."
    )
    disable_tqdm: bool | None = setting(False, "No bar; the lines stay.", decides=False)
    quiet: bool = setting(False, "Print the report alone: no bar, no line a log.", decides=False)
    log_on_each_node: bool = setting(False, "Print on each machine, not on the first alone.", decides=False)
    train_transform: str = setting("paper", "Training transform.", choices=list(TRAIN_TRANSFORMS))
    image_pipeline: str | None = setting(
        None,
        "Where images are augmented: host, one by one in workers; device, in batches where the network is, and kept "
        "there if they fit; not given: host for RGB images, device for others.",
        choices=list(PIPELINES),
    )
    crop_ratio: float = setting(0.875, "Share of the short side that evaluation keeps (224 of 256: the paper's).")
    drw_start_epoch: int | float | None = setting(
        None, "First epoch of DRW, 0-based; below 1, a share of the epochs (0.9: the last tenth); none: never."
    )
    drop_partial_batches: bool = setting(
        False,
        "Leave out of an epoch what does not fill the last batch of all ranks (with repeats, the last two), as PaCo.",
    )
    warmup_epochs: float = setting(5.0, "Epochs of linear warm-up.")
    drw_beta: float = setting(0.9999, "Beta of the effective-number weights.")

    def __post_init__(self):
        check_ranges(self, {**RANGES, "dataloader_num_workers": f"[0, {most_workers()}]"})
        refuse_unused(self)
        if self.output_dir == "":
            raise ValueError("output_dir is empty; name a folder")
        if self.warmup_epochs >= self.num_train_epochs:
            raise ValueError(
                f"warmup_epochs {self.warmup_epochs:g} must be fewer than num_train_epochs {self.num_train_epochs:g}; "
                "set both"
            )
        self._check_drw()
        self._check_precision()
        self._check_sharding()
        open_workers = self.dataloader_num_workers is None
        if open_workers:
            self.dataloader_num_workers = 1  # until the device is known
        compilation = self.torch_compile, self.torch_compile_mode
        # Out of sight of transformers, which would have Accelerate compile every later network of this process too.
        self.torch_compile, self.torch_compile_mode = False, None
        with warnings.catch_warnings():
            # Newer versions call it activation_checkpointing; the older name means the same in all of ours.
            warnings.filterwarnings("ignore", "`gradient_checkpointing", FutureWarning)
            super().__post_init__()
        self.torch_compile, self.torch_compile_mode = compilation
        refuse_unused_schedule_settings(self)
        refuse_wrong_checkpointing(self)
        loading = self.accelerator_config
        if loading.split_batches or loading.dispatch_batches or not loading.even_batches:
            # Each rank must have batches of its own, as many as the others: `TrainingSampler.share_of_rank`.
            raise ValueError(
                "accelerator_config: split_batches, dispatch_batches and even_batches must stay as they are; leave "
                "them out"
            )
        if loading.gradient_accumulation_kwargs:
            raise ValueError(
                "accelerator_config: gradient_accumulation_kwargs is not used; set gradient_accumulation_steps"
            )
        self._refuse_ranks_apart()
        if open_workers:
            self.dataloader_num_workers = self.default_workers
        self._set_loader_switches()
        self.mixed_precision = PRECISIONS.get(self.asked_precision) or self.automatic_precision

    def _check_drw(self) -> None:
        start = self.drw_start_epoch
        if start is None:
            return
        if not 0 <= start < self.num_train_epochs:
            raise ValueError(
                f"drw_start_epoch {start} lies outside the {self.num_train_epochs:g} epochs of the run; give a share "
                "of them, such as 0.9, or none for no DRW"
            )
        if start >= 1 and start != int(start):
            raise ValueError(f"drw_start_epoch must be a whole number, or a share below 1, got {start}")

    def _check_precision(self) -> None:
        for name in ("bf16", "fp16"):
            if getattr(self, name) and self.precision not in ("auto", name):
                raise ValueError(f"precision {self.precision} and {name} contradict each other; leave one out")
        if self.bf16 and self.fp16:
            raise ValueError("bf16 and fp16 contradict each other; set precision to one of them")

    def _check_sharding(self) -> None:
        file = self.deepspeed
        if file and find_spec("deepspeed") is None:
            raise ValueError("deepspeed is not installed; install it, or leave deepspeed out")
        if isinstance(file, str) and file and not file.lstrip().startswith("{") and not Path(file).is_file():
            raise ValueError(f"deepspeed: there is no file {file}")
        if self.fsdp and self.use_cpu:
            raise ValueError("fsdp divides a network among GPUs; leave use_cpu out, or fsdp")
        if isinstance(self.fsdp, str) and self.fsdp.lower() in ("true", "yes", "on", "1"):
            self.fsdp = "full_shard"  # as transformers takes true from Python

    @property
    def device(self) -> torch.device:
        """Trainer's; a CPU without a number, with which transformers before 5.23 cannot resume several processes."""
        device = super().device
        return torch.device("cpu") if device.type == "cpu" else device

    def _refuse_ranks_apart(self) -> None:
        """Several processes of a launcher that would each train alone, as Accelerate has it without a GPU."""
        started = int(os.environ.get("WORLD_SIZE", 1)) if "LOCAL_RANK" in os.environ else 1
        if started > 1 and self.world_size == 1:
            raise ValueError(f"{started} processes were launched and would train apart, without a GPU; add --use_cpu")

    @property
    def asked_precision(self) -> str:
        """The precision that was asked for, in either spelling; "auto" where none was."""
        given = [name for name in ("bf16", "fp16") if getattr(self, name)]
        refused = self.bf16 is False or self.fp16 is False
        return given[0] if given else "float32" if self.precision == "auto" and refused else self.precision

    @property
    def automatic_precision(self) -> str:
        """What `auto` means here, in Accelerate's word: the launcher's where it has one, else what the device has."""
        launchers = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        return launchers if launchers != "no" else "bf16" if bf16_is_fast(self.device) else "no"

    @property
    def default_workers(self) -> int:
        """Processes that transform images where nobody says how many."""
        return default_workers(self.device)

    @property
    def drw_epoch(self) -> int | None:
        """First epoch of DRW, 0-based; None for never. A share of the epochs leaves it the last one at least."""
        start, epochs = self.drw_start_epoch, self.num_train_epochs
        if start is None or start >= 1:
            return start if start is None else int(start)
        return min(round(start * epochs), math.ceil(epochs) - 1)

    def _set_loader_switches(self) -> None:
        """Trainer reads these from the arguments only; whatever they were, they follow from device and workers."""
        self.dataloader_persistent_workers = self.dataloader_num_workers > 0  # a new start costs more than an epoch
        if not self.dataloader_num_workers:
            self.dataloader_prefetch_factor = None  # nobody is there to fetch
        self.dataloader_pin_memory = self.dataloader_pin_memory and self.device.type == "cuda"
        # A copy that blocks would wait for the step before it.
        self.accelerator_config.non_blocking = self.dataloader_pin_memory
        self._n_gpu = min(self._n_gpu, 1)  # one process drives one GPU; several GPUs are for accelerate launch

    @property
    def inherited_that_decide(self) -> tuple[str, ...]:
        """Settings of TrainingArguments, not declared anew here, that decide what is learned."""
        return (
            *("per_device_train_batch_size", "gradient_accumulation_steps", "tf32"),
            *("optim", "optim_args", "adam_beta1", "adam_beta2", "adam_epsilon", "lr_scheduler_kwargs"),
        )

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """Optimiser steps of the warm-up, of which Trainer's schedules ask their arguments."""
        return math.ceil(num_training_steps * (self.warmup_epochs / self.num_train_epochs))

    def in_drw(self, epoch: float | None) -> bool:
        """Whether an epoch (a fraction counts as begun) lies in the deferred re-weighting stage."""
        return self.drw_epoch is not None and (epoch or 0) >= self.drw_epoch

    @property
    def global_batch_size(self) -> int:
        """Images per optimiser step over all ranks and accumulation steps."""
        return self.train_batch_size * self.gradient_accumulation_steps * self.world_size

    @property
    def eval_batch_size(self) -> int:
        """Images of this process at a time in evaluation: without gradients there is memory for more of them."""
        return self.per_device_eval_batch_size or 2 * self.train_batch_size

    @property
    def device_in_words(self) -> str:
        """The hardware that a figure is measured on, and the precision."""
        precision = "float32" if self.mixed_precision == "no" else self.mixed_precision
        return device_in_words(self.device, self.world_size, precision)
