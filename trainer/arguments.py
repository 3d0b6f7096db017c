"""Every setting of a run. A recipe is a YAML file of these names; each is a command-line flag of the same name too."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import TrainingArguments

from trainer.augmentation import BATCH_TRANSFORMS, TRAIN_TRANSFORMS
from trainer.settings import check_ranges, setting


@dataclass
class ModelArguments:
    """The student's architecture."""

    _argument_group_name = "Student model"

    preset: str = setting("base", "Size of the student.", choices=["tiny", "small", "base"])
    image_size: int = setting(224, "Side of the student's input in pixels; a multiple of patch_size.")
    patch_size: int = setting(16, "Side of a patch in pixels.")
    hidden_size: int | None = setting(None, "Width; the preset's if not given.")
    num_hidden_layers: int | None = setting(None, "Depth; the preset's if not given.")
    num_attention_heads: int | None = setting(None, "Attention heads; the preset's if not given.")
    intermediate_size: int | None = setting(None, "Width of the MLPs; the preset's if not given.")
    drop_path_rate: float = setting(0.1, "Stochastic depth of the last layer; earlier layers have linearly less.")
    fusion_weight: float = setting(0.5, "Share of the CLS expert in the mean of both experts' logits.")
    attn_implementation: str = setting("sdpa", "Attention: sdpa, eager or flash_attention_2.")


@dataclass
class DataArguments:
    """Which images, and how they are split."""

    _argument_group_name = "Data"

    dataset: str = setting("digits", "'digits' (embedded), a Hub id, or a folder: a saved data set or class folders.")
    config_name: str | None = setting(None, "Configuration of a Hub data set.")
    image_column: str | None = setting(None, "Column of the images; the only image column if not given.")
    label_column: str | None = setting(None, "Column of the labels; the only label column if not given.")
    rho: float | None = setting(None, "Cut a long tail with this imbalance ratio; not given: as the data are.")
    profile: str = setting("exp", "Shape of the tail that is cut.", choices=["exp", "step"])
    max_per_class: int | None = setting(None, "Training images of the largest class; as many as fit if not given.")
    split_seed: int = setting(0, "Seed of every split of the data; 0 keeps the published long-tailed subsets.")
    test_fraction: float = setting(0.0, "Share of each class to test on, where the data have no test split.")
    validation_fraction: float = setting(0.1, "Share of each class held out when model_selection is 'validation'.")
    group_boundaries: list[str] = setting(
        [],
        "Head/mid/tail: two ranks by training count (such as 3 7), or cifar10_lt, cifar100_lt, imagenet_lt, "
        "inaturalist2018 for the paper's; not given: thirds of the rank order.",
    )
    check_images: bool = setting(True, "Decode every image once before training.")

    def __post_init__(self):
        if len(self.group_boundaries) not in (0, 1, 2):
            raise ValueError(f"group_boundaries takes one name or two ranks, got {' '.join(self.group_boundaries)}")
        if len(self.group_boundaries) == 2 and not all(str(rank).isdigit() for rank in self.group_boundaries):
            raise ValueError(
                f"group_boundaries takes two whole ranks, got {' '.join(map(str, self.group_boundaries))}"
            )

    @property
    def boundaries(self) -> str | tuple[int, ...] | None:
        """The group boundaries as `head_mid_tail` takes them."""
        if len(self.group_boundaries) == 1:
            return self.group_boundaries[0]
        return tuple(int(rank) for rank in self.group_boundaries) or None


@dataclass
class RunArguments(TrainingArguments):
    """What a student's and a teacher's training share. Defaults that differ from TrainingArguments, and why:

    - `remove_unused_columns` False: the image column would be dropped before it is transformed.
    - `logging_nan_inf_filter` False: it reads the loss back from the device at every step; instead a run stops at the
      next log whose loss is not finite.
    - `max_grad_norm` 0: neither the paper nor its teachers' recipes clip gradients.
    - `seed` 0, `save_steps`, `eval_steps` and `logging_steps` a share of the run, `save_total_limit` 2.
    """

    _argument_group_name = "Training (transformers.TrainingArguments and ours)"

    output_dir: str | None = setting(None, "Folder of the results; runs/<recipe> if not given.")
    seed: int = setting(0, "Seed of initialisation, order, augmentation and mixing.")
    remove_unused_columns: bool = setting(False, "Must stay off: images are transformed when they are read.")
    logging_nan_inf_filter: bool = setting(False, "Hide non-finite losses; costs a synchronisation per step.")
    max_grad_norm: float = setting(0.0, "Gradient clipping; 0 for none.")
    save_steps: float = setting(0.05, "Steps between checkpoints; below 1, a share of the run.")
    eval_steps: float | None = setting(0.05, "Steps between evaluations; below 1, a share of the run.")
    logging_steps: float = setting(0.02, "Steps between logs; below 1, a share of the run.")
    save_total_limit: int | None = setting(2, "Checkpoints that are kept.")
    ddp_find_unused_parameters: bool | None = setting(False, "No parameter goes unused.")
    train_transform: str = setting("paper", "Training transform.", choices=list(TRAIN_TRANSFORMS))
    crop_ratio: float = setting(0.875, "Share of the short side that evaluation keeps (224 of 256: the paper's).")
    drw_start_epoch: int | None = setting(None, "First epoch of DRW, 0-based; not given, or num_train_epochs: never.")
    drop_partial_batches: bool = setting(
        False,
        "Leave out of an epoch what does not fill the last batch of all ranks (with repeats, the last two), as PaCo.",
    )
    warmup_epochs: float = setting(5.0, "Epochs of linear warm-up.")
    drw_beta: float = setting(0.9999, "Beta of the effective-number weights.")

    def __post_init__(self):
        check_ranges(self, {"num_train_epochs": "(0, inf)", "crop_ratio": "(0, 1]", "drw_beta": "[0, 1)"})
        check_ranges(self, {"seed": "[0, inf)", "warmup_epochs": "[0, inf)"})
        if self.max_steps > 0:
            raise ValueError("max_steps is not used here; set num_train_epochs, which the schedule and DRW follow")
        if self.warmup_epochs >= self.num_train_epochs:
            raise ValueError(
                f"warmup_epochs {self.warmup_epochs:g} must be fewer than num_train_epochs {self.num_train_epochs:g}"
            )
        if self.warmup_steps:
            raise ValueError("warmup_steps is not used here; set warmup_epochs")
        self.warmup_steps = self.warmup_epochs / self.num_train_epochs
        self.label_names = ["labels"]  # a teacher's forward does not name them, so Trainer cannot guess
        super().__post_init__()
        self.dataloader_pin_memory = self.dataloader_pin_memory and self.device.type == "cuda"
        # A copy that blocks would wait for the step before it.
        self.accelerator_config.non_blocking = self.dataloader_pin_memory
        self._n_gpu = min(self._n_gpu, 1)  # one process drives one GPU; several GPUs are for accelerate launch
        if self.dataloader_drop_last:
            raise ValueError("dataloader_drop_last would leave out test images too; set drop_partial_batches")
        if self.label_smoothing_factor:
            raise ValueError("label_smoothing_factor is not used here; set label_smoothing, which mixing applies")
        if self.drw_start_epoch is not None and not 0 <= self.drw_start_epoch <= self.num_train_epochs:
            raise ValueError(
                f"drw_start_epoch {self.drw_start_epoch} lies outside the {self.num_train_epochs:g} epochs of the run"
            )
        if self.dataloader_num_workers:
            self.dataloader_persistent_workers = True  # starting them anew costs more than a small epoch

    def in_drw(self, epoch: float | None) -> bool:
        """Whether an epoch (a fraction counts as begun) lies in the deferred re-weighting stage."""
        return self.drw_start_epoch is not None and (epoch or 0) >= self.drw_start_epoch

    @property
    def global_batch_size(self) -> int:
        """Images per optimiser step over all ranks and accumulation steps."""
        return self.train_batch_size * self.gradient_accumulation_steps * self.world_size


@dataclass
class DistillationArguments(RunArguments):
    """The student's training: DeiT-LT's settings as defaults (CVPR 2024, arXiv 2404.02900, and its official code)."""

    num_train_epochs: float = setting(1200, "Epochs.")
    learning_rate: float | None = setting(None, "Follows from base_learning_rate and the global batch; not settable.")
    base_learning_rate: float = setting(5e-4, "Learning rate per 512 images of the global batch.")
    paper_learning_rate_rule: bool = setting(False, "Leave accumulation out of the global batch, as the paper's code.")
    min_learning_rate: float = setting(1e-5, "Floor of the cosine; not scaled.")
    warmup_learning_rate: float = setting(1e-6, "Learning rate at the start of the warm-up; not scaled.")
    weight_decay: float = setting(0.05, "AdamW's; none on tokens, position embeddings, biases and norms.")
    lr_scheduler_type: str = setting("cosine_warmup_with_min_lr", "Cosine with warm-up and floor.")
    alpha: float = setting(0.5, "Share of the DIST loss.")
    distillation_type: str = setting("hard", "What the DIST expert learns of the teacher.", choices=["hard", "soft"])
    temperature: float = setting(1.0, "Temperature of soft distillation.")
    drw_mean: str = setting(
        "micro_batch",
        "Images that DRW's weighted mean runs over: micro_batch, those of one device at a time, as published; step, "
        "all of an optimiser step, so that its denominator depends on neither accumulation nor the number of GPUs.",
        choices=["micro_batch", "step"],
    )
    drw_mixing: bool = setting(False, "Keep mixing and smoothing during DRW (the paper: off on CIFAR, on elsewhere).")
    mixup_alpha: float = setting(0.8, "Beta parameter of Mixup; 0 for none.")
    cutmix_alpha: float = setting(1.0, "Beta parameter of CutMix; 0 for none.")
    mixing_probability: float = setting(1.0, "Share of the batches that are mixed.")
    label_smoothing: float = setting(0.1, "Smoothing of the CLS expert's labels.")
    repeats: int = setting(3, "Repeated augmentation: views of an image per draw; 1 for none.")
    ema_decay: float = setting(0.9999, "Decay of the weight average per step, reached gradually; 0 for none.")
    model_selection: str = setting(
        "last",
        "last: the last epoch's weights. validation: the best by balanced accuracy on a split held out from the "
        "training set. paper: the best by accuracy on the test set, as the published numbers were chosen.",
        choices=["last", "validation", "paper"],
    )
    teacher: str | None = setting(
        None, "A teacher recipe (.yaml, trained first or reused), a folder, a timm name, a Hub classifier, or none."
    )
    teacher_output_dir: str | None = setting(None, "Folder of a teacher trained from its recipe.")
    teacher_image_size: int | None = setting(None, "Side of the teacher's input; its own if not given.")
    teacher_normalization: str = setting(
        "student",
        "Pixels the teacher sees: normalised as the student's (the paper), or its own.",
        choices=["student", "own"],
    )
    teacher_class_names: str | None = setting(
        None,
        "Text file with the class of each of the teacher's outputs, one a line, where its folder does not say or "
        "says otherwise.",
    )

    def __post_init__(self):
        if self.teacher is not None and self.teacher.lower() == "none":
            self.teacher = None
        check_ranges(self, {"base_learning_rate": "(0, inf)", "alpha": "[0, 1]", "temperature": "(0, inf)"})
        check_ranges(self, {"label_smoothing": "[0, 1)", "mixing_probability": "[0, 1]", "ema_decay": "[0, 1)"})
        check_ranges(self, {"mixup_alpha": "[0, inf)", "cutmix_alpha": "[0, inf)", "repeats": "[1, inf)"})
        if self.drw_mean == "step" and self.distillation_type == "soft":
            raise ValueError(
                "drw_mean step is the mean of hard distillation; with distillation_type soft set it to micro_batch"
            )
        if self.learning_rate is not None:
            raise ValueError("a student's learning_rate follows from the global batch; set base_learning_rate")
        if self.model_selection == "last" and self.eval_strategy != "no":
            raise ValueError("evaluation during training needs images: set model_selection to validation or paper")
        if self.model_selection != "last" and self.save_strategy == "no":
            raise ValueError(f"model_selection {self.model_selection} chooses among checkpoints: set save_strategy")
        if self.model_selection != "last":
            self.eval_strategy = self.save_strategy
            self.eval_steps = self.save_steps
            # On a long-tailed split plain accuracy prefers weights from before DRW, which know no tail class.
            self.metric_for_best_model = (
                "mean_accuracy" if self.model_selection == "paper" else "mean_balanced_accuracy"
            )
            self.greater_is_better = True
        super().__post_init__()
        accumulation = 1 if self.paper_learning_rate_rule else self.gradient_accumulation_steps
        self.learning_rate = self.base_learning_rate * self.train_batch_size * accumulation * self.world_size / 512
        if self.lr_scheduler_type == "cosine_warmup_with_min_lr":
            self.lr_scheduler_kwargs = {
                "min_lr": min(self.min_learning_rate, self.learning_rate),
                "warmup_lr_rate": min(self.warmup_learning_rate / self.learning_rate, 1.0),
            }


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
    images_on_device: bool = setting(
        False, "Keep training and test images on the device and augment there; for small images, some transforms."
    )
    crop_ratio: float = setting(1.0, "Share of the short side that evaluation keeps.")
    paco_alpha: float = setting(0.01, "Weight of PaCo's positives of the same class; its class centre has paco_beta.")
    paco_beta: float = setting(1.0, "Weight of PaCo's positive that is the class centre.")
    paco_temperature: float = setting(0.05, "Temperature of PaCo's features.")
    paco_dim: int = setting(32, "Features that PaCo compares.")
    paco_queue: int = setting(1024, "Keys that PaCo remembers.")
    paco_momentum: float = setting(0.999, "Momentum of PaCo's key encoder.")

    def __post_init__(self):
        check_ranges(self, {"max_margin": "[0, inf)", "learning_rate": "(0, inf)", "momentum": "[0, 1)"})
        check_ranges(self, {"lr_decay": "(0, 1]", "weight_decay": "[0, inf)"})
        check_ranges(self, {"paco_alpha": "[0, inf)", "paco_beta": "(0, inf)", "paco_temperature": "(0, inf)"})
        check_ranges(self, {"paco_dim": "[1, inf)", "paco_queue": "[1, inf)", "paco_momentum": "[0, 1)"})
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
        if self.loss == "paco" and self.drw_start_epoch not in (None, self.num_train_epochs):
            raise ValueError("paco balances classes by its prior, not by DRW; leave drw_start_epoch out")
        if self.images_on_device:
            views = [self.train_transform, *([self.second_transform] if self.loss == "paco" else [])]
            missing = [name for name in views if name not in BATCH_TRANSFORMS]
            if missing:
                raise ValueError(
                    f"images_on_device knows the transforms {', '.join(BATCH_TRANSFORMS)}, not {missing[0]}"
                )
            # Batches lie on the device already: a worker could not hand them over, nor a loader pin them.
            self.dataloader_num_workers, self.dataloader_pin_memory = 0, False
        super().__post_init__()
        # Its own setting alone: a launcher's precision is meant for the student.
        self.mixed_precision = "bf16" if self.bf16 else "fp16" if self.fp16 else "no"

    def sam_rho_in(self, epoch: float | None) -> float:
        """SAM's radius in an epoch (a fraction counts as begun); 0 for plain SGD."""
        if not self.sam_rho:
            return 0.0
        return self.sam_rho[sum((epoch or 0) >= milestone for milestone in self.sam_milestones)]
