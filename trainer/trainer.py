"""DeiTLTTrainer: transformers' Trainer with a teacher, batch mixing, the two-expert loss and its parts in the log."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate.utils.constants import FSDP_MODEL_NAME
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset
from transformers import get_scheduler
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from modeling_deit_lt import NO_WEIGHT_DECAY, DeiTLTForImageClassification
from trainer.arguments import DistillationArguments
from trainer.augmentation import BatchMixing, TrainingImages, format_of
from trainer.augmentation.mixing import mirrored
from trainer.base_trainer import BaseTrainer
from trainer.callbacks import EmaCallback, SelectionCallback
from trainer.compiling import compilation_pays, padded
from trainer.errors import CheckpointError, DataError, TeacherError
from trainer.fsdp import divide_layers, plain_class
from trainer.losses import DistillationLoss
from trainer.plain_data import brought_together, tested_on
from trainer.students import class_names_of
from trainer.teachers import Teacher, load_teacher
from trainer.teachers.class_names import read_class_names

LOSS_PARTS = ("loss_cls", "loss_dist", "teacher_agreement", "cls_dist_cosine")


class DeiTLTTrainer(BaseTrainer):
    """Trains a `DeiTLTForImageClassification` by DeiT-LT (CVPR 2024, arXiv 2404.02900, section 3).

    One step: mix each batch (not during DRW, unless `drw_mixing`) and let the teacher label it; the student sees the
    same images; the `DistillationLoss` has class weights from `drw_start_epoch` on. All that depends on the epoch is
    computed from it. Without a teacher the ground truth takes its place for the DIST expert.

    Args:
        model: the student, or the name of a preset ("tiny", "small", "base"; 224 px), which is built for the classes
            of `train_dataset`. `model.config.class_counts`, from which weights and groups are made, and class names
            are taken from `train_dataset` where the model has none.
        args: `DistillationArguments`.
        teacher: a folder or model name as for `load_teacher`, or what `load_teacher` gives, or None. It stays outside
            the model, its checkpoints and DDP.
        boundaries: of head/mid/tail in the evaluation, as `head_mid_tail` takes them. Default: thirds.
        train_dataset, eval_dataset: `datasets.Dataset`s with an image and a label column, which the trainer augments
            (`args.train_transform`) and prepares; a data set with a transform of its own, or of torch, is used as it
            is. `evaluate` and `predict` take the same.
        processing_class: the evaluation transform, whose channels, mean and deviation are the training's too. Default:
            `image_processor` at the model's size.
        kwargs: as for `Trainer`.

    Raises:
        DataError: images, labels or classes do not fit, there are no class counts, or as `BaseTrainer`.
        TeacherError: the teacher cannot be loaded or has other classes, or `args` name one and the trainer has none.
    """

    experts = ("mean", "cls", "dist")  # of the model's outputs logits, cls_logits, distillation_logits, in this order
    not_finite_advice = "lower base_learning_rate, or train in bf16 or float32 rather than fp16"

    def __init__(
        self,
        model: DeiTLTForImageClassification | str,
        args: DistillationArguments,
        teacher: Teacher | str | None = None,
        boundaries: str | tuple[int, ...] | None = None,
        train_dataset: Dataset | TorchDataset | None = None,
        eval_dataset: Dataset | TorchDataset | dict | None = None,
        processing_class=None,
        **kwargs,
    ):
        model, train_dataset, processor = brought_together(model, args, train_dataset, processing_class)
        counts = model.config.class_counts
        if counts is None:
            raise DataError("the model has no class counts; set config.class_counts to the training images per class")
        self.class_names = class_names_of(model)
        eval_dataset = tested_on(eval_dataset, self.class_names, processor)
        data = {"train_dataset": train_dataset, "eval_dataset": eval_dataset, "processing_class": processor}
        super().__init__(model, args, counts, boundaries, **data, **kwargs)
        self.teacher = self._loaded(teacher)
        self.mixing = BatchMixing(
            len(counts), args.mixup_alpha, args.cutmix_alpha, args.mixing_probability, args.label_smoothing, args.seed
        )
        loss_args = (args.alpha, args.distillation_type, args.temperature)
        self.distillation_loss = DistillationLoss(*loss_args).to(args.device)
        self.drw_loss = DistillationLoss(*loss_args, class_weights=self.class_weights).to(args.device)
        self._parts = torch.zeros(len(LOSS_PARTS), device=args.device)
        self._batches = self._drw_batches = 0
        self.ema_callback = EmaCallback(args.ema_decay) if args.ema_decay else None
        if self.ema_callback is not None:
            self.add_callback(self.ema_callback)
        if args.selection_metric is not None:
            self.add_callback(SelectionCallback(args.selection_metric))

    def _asked_to_compile(self) -> bool:
        """Also where it pays, if that is left to the trainer."""
        return super()._asked_to_compile() or (self.args.torch_compile == "auto" and self._compilation_pays())

    def _compilation_pays(self) -> bool:
        args = self.args
        if self.train_dataset is None or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return False
        batches = args.num_train_epochs * len(self.train_dataset) / (args.train_batch_size * args.world_size)
        return compilation_pays(args.device, args.mixed_precision, int(batches))

    def get_eval_dataloader(self, eval_dataset=None):
        """Trainer's, for plain rows too."""
        own = eval_dataset is None or eval_dataset is self.eval_dataset or isinstance(eval_dataset, str)
        if own:  # whose loader and workers Trainer keeps from one evaluation to the next
            return super().get_eval_dataloader(eval_dataset)
        # Kept under the same name, that loader would be given for this data set, and this one for the next.
        self._eval_dataloaders = {}
        loader = super().get_eval_dataloader(tested_on(eval_dataset, self.class_names, self.processing_class))
        self._eval_dataloaders = {}
        return loader

    def get_test_dataloader(self, test_dataset):
        """Trainer's, for plain rows too."""
        return super().get_test_dataloader(tested_on(test_dataset, self.class_names, self.processing_class))

    def _loaded(self, teacher: Teacher | str | None) -> Teacher | None:
        args, names = self.args, self.class_names
        if teacher is None and args.teacher is not None:
            raise TeacherError(f"the arguments name the teacher {args.teacher}; give it to the trainer: teacher=...")
        if isinstance(teacher, (str, os.PathLike)):
            outputs = read_class_names(args.teacher_class_names) if args.teacher_class_names else None
            size, normalization = args.teacher_image_size, args.teacher_normalization
            pixels = format_of(self.processing_class)
            teacher = load_teacher(str(teacher), len(names), size, normalization, names, outputs, pixels)
        return teacher.to(args.device) if teacher is not None else None

    def get_batch_samples(self, epoch_iterator, num_batches: int, device: torch.device) -> tuple[list, None]:
        """The batches of an optimiser step, mixed and labelled by the teacher before the student sees the first."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        shares = [(None, 1.0)] * len(batches)
        if self.args.world_size > 1 and isinstance(self.train_dataset, TrainingImages):
            order, step = self._get_train_sampler(), self.state.global_step
            shares = [order.share_of_rank(self.args, step, place) for place in range(len(batches))]
        batches = [
            {**self._labelled(self._prepare_inputs(batch), place, rows), "share": share}
            for place, (batch, (rows, share)) in enumerate(zip(batches, shares, strict=True))
        ]
        if self.args.drw_mean == "step" and self.args.in_drw(self.state.epoch):
            sums = [self.drw_loss.weight_sum(batch["labels"], batch["teacher_logits"]) for batch in batches]
            sums = [value * (share > 0) for value, (_, share) in zip(sums, shares, strict=True)]
            weight_sum = self.accelerator.reduce(torch.stack(sums).mean(), "mean")
            # The share multiplies the whole loss, but this denominator is that of all ranks already.
            batches = [{**batch, "weight_sum": weight_sum * (batch["share"] or 1.0)} for batch in batches]
        return batches, None

    def _labelled(self, inputs: dict, place: int, rows: int | None = None) -> dict:
        """The first rows of a batch, or all, as the student gets them; `place` is its place in the accumulation."""
        images, labels = inputs["pixel_values"][:rows], inputs["labels"][:rows]
        if not self.args.in_drw(self.state.epoch) or self.args.drw_mixing:
            images, labels = self.mixing(images, labels, self.state.global_step, place)
        else:
            images, labels = mirrored(images), mirrored(labels)  # one order of the same images, mixed or not
        return {"pixel_values": images, "labels": labels, "teacher_logits": self._teacher_logits(images)}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The DeiT-LT loss of a batch of `get_batch_samples`; in evaluation the model's own, both experts' mean."""
        if not model.training:
            outputs = model(**inputs)
            return (outputs.loss, outputs) if return_outputs else outputs.loss
        labels, teacher_logits = inputs["labels"], inputs["teacher_logits"]
        outputs = self.for_training(model)(pixel_values=self._whole_batch(inputs["pixel_values"]))
        cls_logits, distillation_logits, tokens = (
            output[: len(labels)] for output in (outputs.cls_logits, outputs.distillation_logits, outputs.tokens)
        )
        criterion = self.drw_loss if self.args.in_drw(self.state.epoch) else self.distillation_loss
        loss = criterion(cls_logits, distillation_logits, labels, teacher_logits, inputs.get("weight_sum"))
        share = inputs.get("share", 1.0)
        self._add_parts(loss, share, labels, teacher_logits, tokens)
        return (share * loss.loss, outputs) if return_outputs else share * loss.loss

    def _teacher_logits(self, images: Tensor) -> Tensor | None:
        if self.teacher is None:
            return None
        with torch.no_grad(), self.accelerator.autocast():
            logits = self.for_training(self.teacher)(self._whole_batch(images))
        return logits[: len(images)].clone()  # CUDA graphs write their next output to the same place

    def _whole_batch(self, images: Tensor) -> Tensor:
        """Images in the one shape that is compiled; without compilation as they are."""
        return padded(images, self.args.train_batch_size) if self.compiles else images

    @torch.no_grad()
    def _add_parts(self, loss, share: float, labels: Tensor, teacher_logits: Tensor | None, tokens: Tensor) -> None:
        """Sum the logged quantities on the device; reading them here would synchronise every step."""
        hard_labels = labels if labels.ndim == 1 else labels.argmax(-1)
        agreement = hard_labels if teacher_logits is None else teacher_logits.argmax(-1)
        self._parts += share * torch.stack(
            [
                loss.cls_loss,
                loss.dist_loss,
                (agreement == hard_labels).float().mean(),
                F.cosine_similarity(*tokens.float().unbind(1)).mean(),
            ]
        )
        self._batches += 1
        self._drw_batches += self.args.in_drw(self.state.epoch)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means of the loss parts since the last log, over all ranks."""
        if "loss" in logs and self._batches:
            means = self.accelerator.reduce(self._parts / self._batches, "mean").tolist()
            logs.update(zip(LOSS_PARTS, means, strict=True))
            if self.teacher is None:
                del logs["teacher_agreement"]
            logs["drw"] = self._drw_batches / self._batches
            self._parts.zero_()
            self._batches = self._drw_batches = 0
        super().log(logs, start_time)

    def sums_since_log(self) -> dict:
        """Also those of the loss parts."""
        parts = self.accelerator.reduce(self._parts, "mean").tolist()
        return {**super().sums_since_log(), "parts": parts, "batches": [self._batches, self._drw_batches]}

    def add_sums(self, sums: dict) -> None:
        """Also to those of the loss parts."""
        super().add_sums(sums)
        self._parts += torch.tensor(sums["parts"], device=self._parts.device)
        self._batches += sums["batches"][0]
        self._drw_batches += sums["batches"][1]

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """All but tokens, position embeddings, biases and norms (DeiT-LT's AdamW groups)."""
        names = super().get_decay_parameter_names(model)
        return [name for name in names if name.rsplit(".", 1)[-1] not in NO_WEIGHT_DECAY]

    @staticmethod
    def get_optimizer_cls_and_kwargs(args: DistillationArguments, model: nn.Module | None = None) -> tuple:
        """Trainer's, with the learning rate that follows from the global batch."""
        optimizer, settings = BaseTrainer.get_optimizer_cls_and_kwargs(args, model)
        return optimizer, {**settings, "lr": args.peak_learning_rate}

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None):
        """Trainer's, with the floors that follow from the peak learning rate."""
        if self.lr_scheduler is None:
            args, warmup = self.args, self.args.get_warmup_steps(num_training_steps)
            optimizer = optimizer or self.optimizer
            self.lr_scheduler = get_scheduler(
                args.lr_scheduler_type, optimizer, warmup, num_training_steps, args.schedule_settings
            )
        return self.lr_scheduler

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Load the weights as Trainer does; the EMA is restored from the same checkpoint."""
        if Path(resume_from_checkpoint, f"{FSDP_MODEL_NAME}.bin").is_file() != self.is_fsdp_enabled:
            how = "without" if self.is_fsdp_enabled else "with"
            raise CheckpointError(f"{resume_from_checkpoint} was saved {how} FSDP; resume it in the same way")
        if self.ema_callback is not None:
            self.ema_callback.resume_from = resume_from_checkpoint
        super()._load_from_checkpoint(resume_from_checkpoint, model)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save, and write the EMA into a checkpoint before Trainer writes the file that completes it."""
        super().save_model(output_dir, _internal_call)
        if self.ema_callback is not None and Path(output_dir or "").name.startswith(PREFIX_CHECKPOINT_DIR):
            self.ema_callback.save(output_dir, self.writer)

    def _save(self, output_dir: str | None = None, state_dict=None) -> None:
        """Trainer's, under FSDP too."""
        with plain_class(self):
            super()._save(output_dir, state_dict)

    def create_accelerator_and_postprocess(self) -> None:
        """Trainer's, with FSDP as it can be here."""
        super().create_accelerator_and_postprocess()
        divide_layers(self)
