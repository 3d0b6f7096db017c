"""TeacherTrainer: transformers' Trainer with long-tailed losses, SAM, SGD and its step schedule."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from trainer.base_trainer import BaseTrainer
from trainer.errors import RunError
from trainer.losses import LDAMLoss, weighted_cross_entropy
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.sam import ascended


class TeacherTrainer(BaseTrainer):
    """Trains a CNN on long-tailed images by cross-entropy or LDAM, with DRW and SAM where the arguments say so.

    SAM's ascent step follows the gradient of the whole optimiser step: over all accumulated batches and, under DDP,
    all ranks. That is what the flat teachers' source does, whose several GPUs are torch's DataParallel (Rangwani et
    al., NeurIPS 2022, "Escaping Saddle Points for Effective Generalization on Class-Imbalanced Data"); the SAM paper
    lets each accelerator ascend by itself. Both passes update BatchNorm's running statistics, as there, and weight
    decay acts inside SGD, on the weights that were not moved.

    Args:
        model: images to logits; a cosine classifier's for LDAM. Its convolutions' weights are put channels last.
        args: `TeacherArguments`.
        counts: (C,) training images per class.
        boundaries: of head/mid/tail in the evaluation, as `head_mid_tail` takes them. Default: thirds.
        train_dataset: `TrainingImages`.
        eval_dataset: `EvaluationImages` or `DeviceEvaluationImages`.

    Raises:
        RunError: a batch would hold a single image, which BatchNorm cannot normalise.
    """

    experts = ("teacher",)
    not_finite_advice = "lower the teacher's learning_rate or sam_rho"

    def __init__(self, model: nn.Module, args: TeacherArguments, counts, boundaries=None, **kwargs):
        # Images and weights in one layout; with two, a third of a step's kernels on a GPU are copies between them.
        super().__init__(model.to(memory_format=torch.channels_last), args, counts, boundaries, **kwargs)
        images, batch = len(self.train_dataset or ()), args.train_batch_size
        one_left = images % batch == 1 and args.world_size == 1 and not args.drop_partial_batches
        if batch == 1:
            raise RunError("BatchNorm cannot normalise a single image; choose a larger per_device_train_batch_size")
        if one_left:
            raise RunError(
                f"{images} training images in batches of {batch} leave one alone, which BatchNorm cannot normalise; "
                "choose another per_device_train_batch_size, or drop_partial_batches"
            )
        ldam = LDAMLoss(counts, args.max_margin).to(args.device)
        self.criterion = ldam if args.loss == "ldam" else weighted_cross_entropy
        self.step_inputs = []  # of the optimiser step under way

    def training_step(self, model, inputs, num_items_in_batch=None) -> Tensor:
        """Forward and backward; at the end of an optimiser step again from the weights that SAM ascended to."""
        inputs = self._prepare_inputs(inputs)
        rho = self.args.sam_rho_in(self.state.epoch)
        # Only SAM sees the images again; without it they need not stay in memory.
        self.step_inputs.append(inputs if rho else {k: v for k, v in inputs.items() if k != "pixel_values"})
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            if rho:
                self._sharpness_aware_pass(model, rho, num_items_in_batch)
            self.end_of_step()
        return loss

    def _sharpness_aware_pass(self, model, rho: float, num_items_in_batch) -> None:
        *others, last = self.step_inputs
        with ascended(model.parameters(), rho):
            for inputs in others:
                with self.accelerator.no_sync(model):
                    super().training_step(model, inputs, num_items_in_batch)
            super().training_step(model, last, num_items_in_batch)

    def end_of_step(self) -> None:
        """All gradients of an optimiser step are there."""
        self.step_inputs.clear()

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The loss of one batch: the training's own, or plain cross-entropy in evaluation."""
        if model.training:
            return self.training_loss(model, inputs)
        logits = model(self.channels_last(inputs["pixel_values"]))
        loss = weighted_cross_entropy(logits, inputs["labels"], None)
        return (loss, {"logits": logits}) if return_outputs else loss

    def training_loss(self, model, inputs) -> Tensor:
        """Mean loss, re-weighted from `drw_start_epoch` on (LDAM-DRW, Cao et al. 2019, algorithm 1)."""
        weights = self.class_weights if self.args.in_drw(self.state.epoch) else None
        return self.criterion(self.outputs(model, inputs["pixel_values"]), inputs["labels"], weights)

    def outputs(self, model, images: Tensor):
        """What a network makes of the images of a step; compiled, if asked for, but for a last partial batch.

        That one would be compiled anew, and BatchNorm does not let it be filled up.
        """
        network = self.for_training(model) if len(images) == self.args.train_batch_size else model
        return network(self.channels_last(images))

    @staticmethod
    def channels_last(images: Tensor) -> Tensor:
        """(B, 3, H, W) images in the layout that convolutions are fastest on, by a third on CPUs."""
        return images.contiguous(memory_format=torch.channels_last)

    def _save(self, output_dir: str | None = None, state_dict=None) -> None:
        """Save with contiguous weights: safetensors takes no others."""
        state = self.model.state_dict() if state_dict is None else state_dict
        super()._save(output_dir, {name: tensor.contiguous() for name, tensor in state.items()})

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """SGD with weight decay on every parameter, as the teachers' source recipes have it."""
        if self.optimizer is None:
            args = self.args
            parameters = [p for p in self.model.parameters() if p.requires_grad]
            settings = {"momentum": args.momentum, "weight_decay": args.weight_decay}
            # Fused: one launch for all weights, and in fp16 no wait for the scaler's verdict.
            self.optimizer = torch.optim.SGD(parameters, args.learning_rate, **settings, fused=True)
            if args.momentum:
                # torch leaves the first momentum unwritten where fp16's scaler skips the first step, and uses it then.
                for p in parameters:
                    self.optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer=None):
        """Linear warm-up and a step at each milestone, or Trainer's own schedule where there are no milestones."""
        args = self.args
        if not args.lr_milestones or self.lr_scheduler is not None:
            return super().create_scheduler(num_training_steps, optimizer)
        steps_per_epoch = num_training_steps / args.num_train_epochs

        def factor(step: int) -> float:
            epoch = int(step / steps_per_epoch)
            if epoch < args.warmup_epochs:
                return min(1.0, (epoch + 1) / args.warmup_epochs)
            return args.lr_decay ** sum(epoch >= milestone for milestone in args.lr_milestones)

        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
        return self.lr_scheduler
