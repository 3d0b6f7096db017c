"""DeiTLTTrainer: transformers' Trainer with a teacher, batch mixing, the two-expert loss and its parts in the log."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import get_scheduler
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from modeling_deit_lt import NO_WEIGHT_DECAY
from trainer.arguments import DistillationArguments
from trainer.augmentation import BatchMixing
from trainer.base_trainer import BaseTrainer
from trainer.callbacks import EmaCallback, SelectionCallback
from trainer.errors import CheckpointError, DataError
from trainer.losses import DistillationLoss
from trainer.teachers import Teacher

EXPERTS = ("mean", "cls", "dist")  # in the order of the model's outputs logits, cls_logits, distillation_logits
LOSS_PARTS = ("loss_cls", "loss_dist", "teacher_agreement", "cls_dist_cosine")


class DeiTLTTrainer(BaseTrainer):
    """Trains a `DeiTLTForImageClassification` by DeiT-LT (CVPR 2024, arXiv 2404.02900, section 3).

    One step: mix each batch (not during DRW, unless `drw_mixing`) and let the teacher label it; the student sees the
    same images; the `DistillationLoss` has class weights from `drw_start_epoch` on. All that depends on the epoch is
    computed from it. Without a teacher the ground truth takes its place for the DIST expert.

    Args:
        model: the student; `model.config.class_counts` gives the counts that weights and groups are made from.
        args: `DistillationArguments`.
        teacher: from `load_teacher`, or None. It stays outside the model, its checkpoints and DDP.
        boundaries: of head/mid/tail in the evaluation, as `head_mid_tail` takes them. Default: thirds.
        kwargs: as for `Trainer`; give `processing_class` so that saved folders open in a pipeline.

    Raises:
        DataError: the model has no class counts, or as `BaseTrainer`.
    """

    experts = EXPERTS
    not_finite_advice = "lower base_learning_rate, or train in bf16 or float32 rather than fp16"

    def __init__(
        self,
        model: nn.Module,
        args: DistillationArguments,
        teacher: Teacher | None = None,
        boundaries: str | tuple[int, ...] | None = None,
        **kwargs,
    ):
        counts = model.config.class_counts
        if counts is None:
            raise DataError("the model has no class counts; set config.class_counts to the training images per class")
        super().__init__(model, args, counts, boundaries, **kwargs)
        self.teacher = teacher.to(args.device) if teacher is not None else None
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

    def get_batch_samples(self, epoch_iterator, num_batches: int, device: torch.device) -> tuple[list, None]:
        """The batches of an optimiser step, mixed and labelled by the teacher before the student sees the first."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        batches = [self._labelled(self._prepare_inputs(batch), place) for place, batch in enumerate(batches)]
        if self.args.drw_mean == "step" and self.args.in_drw(self.state.epoch):
            sums = [self.drw_loss.weight_sum(batch["labels"], batch["teacher_logits"]) for batch in batches]
            weight_sum = self.accelerator.reduce(torch.stack(sums).mean(), "mean")
            batches = [{**batch, "weight_sum": weight_sum} for batch in batches]
        return batches, None

    def _labelled(self, inputs: dict, place: int) -> dict:
        """A batch as the student gets it; `place` is its place in the accumulation."""
        images, labels = inputs["pixel_values"], inputs["labels"]
        if not self.args.in_drw(self.state.epoch) or self.args.drw_mixing:
            images, labels = self.mixing(images, labels, self.state.global_step, place)
        return {"pixel_values": images, "labels": labels, "teacher_logits": self._teacher_logits(images)}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The DeiT-LT loss of a batch of `get_batch_samples`; in evaluation the model's own, both experts' mean."""
        if not model.training:
            outputs = model(**inputs)
            return (outputs.loss, outputs) if return_outputs else outputs.loss
        labels, teacher_logits = inputs["labels"], inputs["teacher_logits"]
        outputs = model(pixel_values=inputs["pixel_values"])
        criterion = self.drw_loss if self.args.in_drw(self.state.epoch) else self.distillation_loss
        loss = criterion(
            outputs.cls_logits, outputs.distillation_logits, labels, teacher_logits, inputs.get("weight_sum")
        )
        self._add_parts(loss, labels, teacher_logits, outputs.tokens)
        return (loss.loss, outputs) if return_outputs else loss.loss

    def _teacher_logits(self, images: Tensor) -> Tensor | None:
        if self.teacher is None:
            return None
        with torch.no_grad(), self.accelerator.autocast():
            return self.teacher(images)

    @torch.no_grad()
    def _add_parts(self, loss, labels: Tensor, teacher_logits: Tensor | None, tokens: Tensor) -> None:
        """Sum the logged quantities on the device; reading them here would synchronise every step."""
        hard_labels = labels if labels.ndim == 1 else labels.argmax(-1)
        agreement = hard_labels if teacher_logits is None else teacher_logits.argmax(-1)
        self._parts += torch.stack(
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
        if self.ema_callback is not None:
            self.ema_callback.resume_from = resume_from_checkpoint
        try:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        except RuntimeError as error:  # torch's word for shapes that differ
            raise CheckpointError(
                f"{resume_from_checkpoint} does not hold the weights of this model; name another one"
            ) from error

    def _save(self, output_dir: str | None = None, state_dict=None) -> None:
        """Save, and write the EMA into a checkpoint before Trainer writes the file that completes it."""
        super()._save(output_dir, state_dict)
        is_checkpoint = Path(output_dir or "").name.startswith(PREFIX_CHECKPOINT_DIR)
        if self.ema_callback is not None and is_checkpoint and self.args.should_save:
            self.ema_callback.save(output_dir)
