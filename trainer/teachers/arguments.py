"""The settings of a teacher's training."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import TrainingArguments

from trainer.augmentation import TRAIN_TRANSFORMS
from trainer.base_arguments import RunArguments
from trainer.settings import check_ranges, setting
from trainer.unused_settings import changed_of


@dataclass
class TeacherArguments(RunArguments):
    """The teacher's training: LDAM-DRW's settings for CIFAR as defaults (Cao et al., NeurIPS 2019)."""

    num_train_epochs: float = setting(200, "Epochs.")
    architecture: str = setting("resnet32_cifar", "A timm model name; resnet8/20/32/56_cifar are ours.")
    image_size: int = setting(32, "Side of the teacher's input in pixels.")
    loss: str = setting(
        "ldam",
        "Loss: cross_entropy, ldam (trains a cosine classifier) or paco (two views of each image, a momentum "
        "encoder and a queue).",
        choices=["cross_entropy", "ldam", "paco"],
    )
    max_margin: float = setting(0.5, "LDAM margin of the smallest class.")
    sam_rho: list[float] = setting(
        [], "Radius of SAM's ascent step: one number, or one for each stretch of sam_milestones; none or 0: no SAM."
    )
    sam_milestones: list[int] = setting([], "Epochs (0-based) at which the next sam_rho begins.")
    learning_rate: float = setting(0.1, "Learning rate of SGD, not scaled with the batch.")
    momentum: float = setting(0.9, "Momentum of SGD.")
    weight_decay: float = setting(2e-4, "Weight decay of SGD, on every parameter.")
    lr_milestones: list[int] = setting([], "Epochs from which the rate is times lr_decay; none: a cosine to 0.")
    lr_decay: float = setting(0.01, "Factor at each milestone.")
    lr_scheduler_type: str = setting("cosine", "Schedule where there are no milestones.")
    train_transform: str = setting("crop_flip", "Training transform.", choices=list(TRAIN_TRANSFORMS))
    second_transform: str = setting("simclr", "Transform of PaCo's second view.", choices=list(TRAIN_TRANSFORMS))
    crop_ratio: float = setting(1.0, "Share of the short side that evaluation keeps.")
    paco_alpha: float = setting(0.01, "Weight of PaCo's positives of the same class; its class centre has paco_beta.")
    paco_beta: float = setting(1.0, "Weight of PaCo's positive that is the class centre.")
    paco_temperature: float = setting(0.05, "Temperature of PaCo's features.")
    paco_dim: int = setting(32, "Features that PaCo compares.")
    paco_queue: int = setting(1024, "Keys that PaCo remembers.")
    paco_momentum: float = setting(0.999, "Momentum of PaCo's key encoder.")

    def __post_init__(self):
        check_ranges(self, {"max_margin": "[0, inf)", "learning_rate": "(0, 1000]", "momentum": "[0, 1)"})
        check_ranges(self, {"lr_decay": "(0, 1]", "image_size": "[1, 8192]"})
        check_ranges(self, {"paco_alpha": "[0, inf)", "paco_beta": "(0, inf)", "paco_temperature": "(0, inf)"})
        check_ranges(self, {"paco_dim": "[1, 65536]", "paco_queue": "[1, 1e7]", "paco_momentum": "[0, 1)"})
        fits = len(self.sam_rho) == len(self.sam_milestones) + 1 or not (self.sam_rho or self.sam_milestones)
        if not fits or not all(0 <= rho < float("inf") for rho in self.sam_rho):
            raise ValueError(
                f"sam_rho takes one number, at least 0, or one more than there are sam_milestones; got {self.sam_rho} "
                f"for the milestones {self.sam_milestones}"
            )
        for name in ("sam_milestones", "lr_milestones"):
            epochs = getattr(self, name)
            if epochs != sorted(epochs) or any(not 0 < epoch < self.num_train_epochs for epoch in epochs):
                raise ValueError(
                    f"{name} must rise and lie inside the {self.num_train_epochs:g} epochs of the run, got {epochs}"
                )
        if self.loss == "paco" and self.drw_start_epoch is not None:
            raise ValueError("paco balances classes by its prior, not by DRW; leave drw_start_epoch out")
        if self.auto_find_batch_size:
            raise ValueError(
                "auto_find_batch_size is for students: a teacher's BatchNorm depends on the images of a device; set "
                "per_device_train_batch_size"
            )
        if self.lr_milestones and self.lr_scheduler_kwargs:
            raise ValueError("lr_milestones have lr_decay, no lr_scheduler_kwargs; leave one of them out")
        unused = sorted({"optim_args", "adam_beta1", "adam_beta2", "adam_epsilon"} & changed_of(self))
        if unused:
            raise ValueError(
                f"{unused[0]} does nothing for a teacher, which SGD trains; set momentum, or leave it out"
            )
        super().__post_init__()
        if self.gradient_checkpointing:
            raise ValueError(
                "gradient_checkpointing is for students: a teacher's BatchNorm would count every image twice; leave "
                "it out, or lower per_device_train_batch_size"
            )
        if self.optim not in (TrainingArguments.optim, "sgd"):
            raise ValueError(f"optim {self.optim.value} is not used for a teacher, which SGD trains; leave it out")

    @property
    def automatic_precision(self) -> str:
        """float32, as the published teachers: bf16 disturbs SAM most, and a launcher's is meant for the student."""
        return "no"

    @property
    def transforms(self) -> list[str]:
        """Names of the training transforms, one for each view of an image."""
        return [self.train_transform, *([self.second_transform] if self.loss == "paco" else [])]

    @property
    def repeats(self) -> int:
        """Views of an image per draw: a teacher's training does not repeat images."""
        return 1

    @property
    def mixes(self) -> bool:
        """A teacher's images are not mixed."""
        return False

    def sam_rho_in(self, epoch: float | None) -> float:
        """SAM's radius in an epoch (a fraction counts as begun); 0 for plain SGD."""
        if not self.sam_rho:
            return 0.0
        return self.sam_rho[sum((epoch or 0) >= milestone for milestone in self.sam_milestones)]
