"""Every setting of a run. A recipe is a YAML file of these names; each is a command-line flag of the same name too."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.base_arguments import RunArguments
from trainer.data import PIXEL_NORMALIZATIONS
from trainer.evaluation import PAPER_BOUNDARIES
from trainer.settings import check_ranges, setting

OUR_SCHEDULE = "cosine_warmup_with_min_lr"
MOST_PATCHES = 2**16
MOST_LEARNING_RATE = 1000
SOURCES = ("dataset", "train_list", "test_list", "class_from")  # of the images; they may lie elsewhere tomorrow


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
    attn_implementation: str = setting(
        "auto",
        "Attention: sdpa, eager or flash_attention_2; auto is sdpa, but on a CPU in bf16 eager up to 256 patches.",
    )

    def __post_init__(self):
        widths = ("hidden_size", "num_attention_heads", "intermediate_size")
        check_ranges(self, dict.fromkeys(("image_size", "patch_size"), "[1, 8192]"))
        check_ranges(self, {**dict.fromkeys(widths, "[1, 1e6]"), "num_hidden_layers": "[1, 1000]"})
        check_ranges(self, {"drop_path_rate": "[0, 1)", "fusion_weight": "[0, 1]"})
        if (patches := (self.image_size // self.patch_size) ** 2) > MOST_PATCHES:
            raise ValueError(
                f"image_size {self.image_size} in patches of {self.patch_size} makes {patches} of them, at most "
                f"{MOST_PATCHES} can be attended to; raise patch_size or lower image_size"
            )


@dataclass
class DataArguments:
    """Which images, and how they are split."""

    _argument_group_name = "Data"

    dataset: str = setting(
        "digits", "'digits' (embedded), a Hub id, or a folder: a saved data set, class folders, or images of lists."
    )
    train_list: str | None = setting(
        None,
        "List of the training images in the folder: lines `path label`, CSV, JSON, JSON lines, or iNaturalist's "
        "annotations; not given: official lists of ImageNet-LT, iNaturalist-2018 or Places-LT that lie in the folder.",
    )
    test_list: str | None = setting(None, "List of the test images, of the same kinds.")
    config_name: str | None = setting(None, "Configuration of a Hub data set.")
    image_column: str | None = setting(
        None, "Column of the images, or of a list's paths; the only image column if not given."
    )
    label_column: str | None = setting(None, "Column of the labels; the only label column if not given.")
    num_channels: int = setting(
        3,
        "Channels of an image: 3, RGB of 8 bits; 1, grey; others, pages of TIFF files or .npy arrays (H, W, C). All "
        "but 3 keep 16 bits.",
    )
    normalization: str | None = setting(
        None,
        "Mean and deviation of the pixels: imagenet, for RGB alone, or data, those of the training images; not given: "
        "imagenet for RGB, else data.",
        choices=list(PIXEL_NORMALIZATIONS),
    )
    class_from: str = setting(
        "path",
        "Class of an image in nested class folders: path, the folders' names down to it (birds/heron); folder, the "
        "last one's (heron).",
        choices=["path", "folder"],
    )
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
        decides=False,
    )
    check_images: bool = setting(True, "Decode every image once before training.", decides=False)

    def __post_init__(self):
        if len(self.group_boundaries) not in (0, 1, 2):
            raise ValueError(f"group_boundaries takes one name or two ranks, got {' '.join(self.group_boundaries)}")
        check_ranges(self, {"validation_fraction": "(0, 1)", "test_fraction": "[0, 1)", "num_channels": "[1, 1024]"})
        if self.normalization == "imagenet" and self.num_channels != 3:
            raise ValueError(
                f"ImageNet's mean and deviation are of 3 channels; with num_channels {self.num_channels} set "
                "normalization to data, or leave it out"
            )
        if len(self.group_boundaries) == 1 and self.group_boundaries[0] not in PAPER_BOUNDARIES:
            known = ", ".join(PAPER_BOUNDARIES)
            raise ValueError(f"no group_boundaries are named {self.group_boundaries[0]!r}; known: {known}")
        if len(self.group_boundaries) == 2 and not all(str(rank).isdigit() for rank in self.group_boundaries):
            raise ValueError(
                f"group_boundaries takes two whole ranks, got {' '.join(map(str, self.group_boundaries))}"
            )

    @property
    def pixel_normalization(self) -> str:
        """The normalisation that was asked for, or the one that images of so many channels have."""
        return self.normalization or ("imagenet" if self.num_channels == 3 else "data")

    @property
    def boundaries(self) -> str | tuple[int, ...] | None:
        """The group boundaries as `head_mid_tail` takes them."""
        if len(self.group_boundaries) == 1:
            return self.group_boundaries[0]
        return tuple(int(rank) for rank in self.group_boundaries) or None


@dataclass
class DistillationArguments(RunArguments):
    """The student's training: DeiT-LT's settings as defaults (CVPR 2024, arXiv 2404.02900, and its official code)."""

    num_train_epochs: float = setting(1200, "Epochs.")
    learning_rate: float | None = setting(
        None, "Not settable: it follows from base_learning_rate and the global batch.", decides=False
    )
    base_learning_rate: float = setting(5e-4, "Learning rate per 512 images of the global batch.")
    paper_learning_rate_rule: bool = setting(False, "Leave accumulation out of the global batch, as the paper's code.")
    min_learning_rate: float = setting(1e-5, "Floor of the cosine; not scaled.")
    warmup_learning_rate: float = setting(1e-6, "Learning rate at the start of the warm-up; not scaled.")
    weight_decay: float = setting(0.05, "AdamW's; none on tokens, position embeddings, biases and norms.")
    lr_scheduler_type: str = setting(OUR_SCHEDULE, "Cosine with warm-up and floor.")
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
        None,
        "A teacher recipe (.yaml, trained first or reused), a folder, a timm name, a Hub classifier, or none.",
        decides=False,
    )
    teacher_output_dir: str | None = setting(None, "Folder of a teacher trained from its recipe.", decides=False)
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
        check_ranges(self, {"base_learning_rate": "(0, 1000]", "alpha": "[0, 1]", "temperature": "(0, inf)"})
        check_ranges(self, dict.fromkeys(("min_learning_rate", "warmup_learning_rate"), "[0, inf)"))
        check_ranges(self, {"label_smoothing": "[0, 1)", "mixing_probability": "[0, 1]", "ema_decay": "[0, 1)"})
        check_ranges(self, {"teacher_image_size": "[1, inf)"})
        check_ranges(self, {"mixup_alpha": "[0, inf)", "cutmix_alpha": "[0, inf)", "repeats": "[1, 1000]"})
        if self.drw_mean == "step" and self.distillation_type == "soft":
            raise ValueError(
                "drw_mean step is the mean of hard distillation; with distillation_type soft set it to micro_batch"
            )
        if self.auto_find_batch_size and self.paper_learning_rate_rule:
            raise ValueError(
                "auto_find_batch_size changes the accumulation, which paper_learning_rate_rule leaves out of the "
                "learning rate; leave one of them out"
            )
        if self.learning_rate is not None:
            raise ValueError("a student's learning_rate follows from the global batch; set base_learning_rate")
        if self.lr_scheduler_kwargs and self.lr_scheduler_type == OUR_SCHEDULE:
            raise ValueError(f"{OUR_SCHEDULE} has min_learning_rate and warmup_learning_rate, no lr_scheduler_kwargs")
        if self.model_selection != "last" and self.save_strategy not in ("steps", "epoch"):
            raise ValueError(
                f"model_selection {self.model_selection} chooses among checkpoints: set save_strategy to steps "
                "or epoch"
            )
        super().__post_init__()
        if self.peak_learning_rate > MOST_LEARNING_RATE:
            raise ValueError(
                f"the learning rate would be {self.peak_learning_rate:.3g}, base_learning_rate per 512 of "
                f"{self.global_batch_size} images a step; lower the batch, gradient_accumulation_steps or "
                "base_learning_rate"
            )

    @property
    def inherited_that_decide(self) -> tuple[str, ...]:
        """Also the steps at which there are checkpoints, where one of them is chosen."""
        candidates = ("save_strategy", "save_steps") if self.model_selection != "last" else ()
        return (*super().inherited_that_decide, *candidates)

    @property
    def selection_metric(self) -> str | None:
        """What `model_selection` compares checkpoints by; None for the last one.

        On a long-tailed split plain accuracy prefers weights from before DRW, which know no tail class.
        """
        metrics = {"last": None, "validation": "mean_balanced_accuracy", "paper": "mean_accuracy"}
        return metrics[self.model_selection]

    @property
    def transforms(self) -> list[str]:
        """Names of the training transforms: a student sees one view of an image."""
        return [self.train_transform]

    @property
    def mixes(self) -> bool:
        """Whether images are mixed in pairs."""
        return True

    @property
    def tested_weights(self) -> int:
        """How many weights are tested at the end: the last ones, the chosen ones, their average."""
        return 1 + (self.model_selection != "last") + bool(self.ema_decay)

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate after the warm-up, in proportion to the images of an optimiser step."""
        accumulation = 1 if self.paper_learning_rate_rule else self.gradient_accumulation_steps
        return self.base_learning_rate * self.train_batch_size * accumulation * self.world_size / 512

    @property
    def schedule_settings(self) -> dict | None:
        """What the learning rate's schedule needs to know besides its steps."""
        if self.lr_scheduler_type != OUR_SCHEDULE:
            return self.lr_scheduler_kwargs
        peak = self.peak_learning_rate
        return {
            "min_lr": min(self.min_learning_rate, peak),
            "warmup_lr_rate": min(self.warmup_learning_rate / peak, 1.0),
        }
