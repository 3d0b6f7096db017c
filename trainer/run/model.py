"""The student of a run before it is trained."""

from __future__ import annotations

from huggingface_hub.errors import StrictDataclassError
from transformers import set_seed

from modeling_deit_lt import DeiTLTConfig, DeiTLTForImageClassification
from trainer.arguments import ModelArguments
from trainer.errors import RunError


def build_student(
    settings: ModelArguments, names: list[str], counts: list[int], seed: int
) -> DeiTLTForImageClassification:
    """A student with fresh weights that depend on the seed alone.

    Raises:
        RunError: a size that the student cannot have, or an attention that is not there.
    """
    given = {key: value for key, value in vars(settings).items() if key != "preset" and value is not None}
    attention = given.pop("attn_implementation")
    try:
        config = DeiTLTConfig.from_preset(
            settings.preset,
            **given,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            class_counts=list(counts),
        )
    except StrictDataclassError as error:
        raise RunError(f"student: {error.__cause__ or error}") from error
    config._attn_implementation = attention
    set_seed(seed)
    try:
        return DeiTLTForImageClassification(config)
    except (ValueError, ImportError) as error:  # an attention that is not known, or not installed
        raise RunError(f"student with {attention} attention: {' '.join(str(error).split())}") from error
