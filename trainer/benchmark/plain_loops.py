"""The loops that ours is compared with, as anyone would write them: no log, no checkpoint, no weight average."""

from __future__ import annotations

import torch
from timm.data.mixup import Mixup
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.task import TokenDistillationTask
from torch.utils.data import Dataset as TorchDataset

from trainer.arguments import DistillationArguments
from trainer.benchmark.entry import CLASSES, Entry
from trainer.benchmark.images import batches_for_ever
from trainer.benchmark.stopwatch import Stopwatch
from trainer.losses import LDAMLoss
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.sam import ascended


def train_by_timm(entry: Entry, args: DistillationArguments, images: TorchDataset, stopwatch: Stopwatch) -> None:
    """A student by timm's task, with timm's mixing and AdamW, as its training script puts them together.

    Args:
        entry: what is trained.
        args: of which batch, mixing, smoothing, precision and compilation count.
        images: from `images_of`, synthetic or of the host pipeline.
        stopwatch: which ends it, by `Ended`.
    """
    device = args.device
    task = TokenDistillationTask(
        entry.timm_student(args),
        entry.network(),
        SoftTargetCrossEntropy(),
        distill_type=args.distillation_type,
        task_loss_weight=1 - args.alpha,
        device=device,
        verbose=False,
    )
    task.to(device).train()
    optimizer = create_optimizer_v2(
        task.get_trainable_module(), opt="adamw", lr=args.peak_learning_rate, weight_decay=args.weight_decay
    )
    if args.torch_compile:
        task.compile()
    mixing = {"mixup_alpha": args.mixup_alpha, "cutmix_alpha": args.cutmix_alpha, "prob": args.mixing_probability}
    mix = Mixup(**mixing, label_smoothing=args.label_smoothing, num_classes=CLASSES)
    for batch in stopwatch.timed(batches_for_ever(images, args)):
        pixels, targets = mix(batch["pixel_values"], batch["labels"])
        with torch.autocast(device.type, torch.bfloat16, enabled=args.mixed_precision == "bf16"):
            loss = task(pixels, targets)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        stopwatch.step_done()


def train_by_torch(entry: Entry, args: TeacherArguments, images: TorchDataset, stopwatch: Stopwatch) -> None:
    """A teacher with LDAM by torch's SGD, with SAM's second pass where it is asked for; arguments as above."""
    model = entry.classifier(args).to(args.device)
    criterion, rho = LDAMLoss(entry.counts, args.max_margin).to(args.device), args.sam_rho_in(0)
    settings = {"momentum": args.momentum, "weight_decay": args.weight_decay}
    optimizer = torch.optim.SGD(model.parameters(), args.learning_rate, **settings)
    for batch in stopwatch.timed(batches_for_ever(images, args)):
        criterion(model(batch["pixel_values"]), batch["labels"]).backward()
        if rho:
            with ascended(model.parameters(), rho):
                criterion(model(batch["pixel_values"]), batch["labels"]).backward()
        optimizer.step()
        optimizer.zero_grad()
        stopwatch.step_done()
