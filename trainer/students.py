"""The student before it is trained: built from its settings, or brought together with its training images."""

from __future__ import annotations

from datasets import Dataset
from huggingface_hub.errors import StrictDataclassError
from transformers import set_seed

from modeling_deit_lt import DeiTLTConfig, DeiTLTForImageClassification
from trainer.arguments import ModelArguments
from trainer.base_arguments import RunArguments
from trainer.data import class_counts, class_difference
from trainer.errors import DataError, RunError

SHORT = 256  # patches up to which explicit products have been timed


def build_student(
    settings: ModelArguments, names: list[str], counts: list[int], args: RunArguments, channels: int = 3
) -> DeiTLTForImageClassification:
    """A student with fresh weights that depend on the seed alone.

    Args:
        settings: its sizes.
        names, counts: (C,) classes and their training images.
        args: of its training: the seed, and what the attention "auto" depends on.
        channels: of its images. Default 3.

    Raises:
        RunError: a size that the student cannot have, or an attention that is not there.
    """
    given = {key: value for key, value in vars(settings).items() if key != "preset" and value is not None}
    attention = given.pop("attn_implementation")
    if attention == "auto":
        attention = fastest_attention(settings, args)
    try:
        config = DeiTLTConfig.from_preset(
            settings.preset,
            **given,
            num_channels=channels,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            class_counts=list(counts),
        )
    except StrictDataclassError as error:
        raise RunError(f"student: {error.__cause__ or error}") from error
    config._attn_implementation = attention
    set_seed(args.seed)
    try:
        return DeiTLTForImageClassification(config)
    except (ValueError, ImportError) as error:  # an attention that is not known, or not installed
        raise RunError(f"student with {attention} attention: {' '.join(str(error).split())}") from error


def fastest_attention(settings: ModelArguments, args: RunArguments) -> str:
    """What the attention "auto" means for a training.

    On a CPU in bf16 torch's attention is slow, so short sequences are attended to by matrix products there
    (docs/performance.md); SDPA everywhere else.
    """
    on_cpu = args.device.type == "cpu" and args.mixed_precision == "bf16"
    return "eager" if on_cpu and (settings.image_size // settings.patch_size) ** 2 <= SHORT else "sdpa"


def adopt_classes(model: DeiTLTForImageClassification, rows: Dataset) -> None:
    """Give a model the classes and counts of its training images, where it has none of its own.

    Args:
        model: names such as "LABEL_0" are none of its own.
        rows: training images with a ClassLabel column `label`.

    Raises:
        DataError: its own classes or counts are not those of the images.
    """
    config, names, counts = model.config, rows.features["label"].names, class_counts(rows).tolist()
    if config.num_labels != len(names):
        raise DataError(f"the model has {config.num_labels} classes, the training images {len(names)}")
    if class_names_of(model) == [f"LABEL_{index}" for index in range(len(names))]:
        config.id2label, config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    if (detail := class_difference(names, class_names_of(model))) is not None:
        raise DataError(f"the model has other classes than the training images, or another order: {detail}")
    if config.class_counts is None:
        config.class_counts = counts
    if list(config.class_counts) != counts:
        raise DataError(
            "the model's config.class_counts are not those of the training images; set it to None to count anew"
        )


def class_names_of(model: DeiTLTForImageClassification) -> list[str]:
    """(C,) a model's classes in the order of its outputs."""
    return [model.config.id2label[index] for index in range(model.config.num_labels)]


def checkpoint_layers(model: DeiTLTForImageClassification, settings: dict | None = None) -> None:
    """Have a student forget what its layers computed until its backward pass, as a training does at its begin.

    Args:
        model: the student.
        settings: `gradient_checkpointing_kwargs`. Default: none.
    """
    given = dict(settings or {})
    every, offload = given.pop("every_n_layers", 1), given.pop("offload", False)
    # The name of newer versions, of which the older name warns.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable(given or None, every_n_layers=every, offload=offload)
