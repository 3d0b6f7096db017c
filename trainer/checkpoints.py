"""Loading of saved students, with checks of their weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn
from transformers import AutoImageProcessor, BaseImageProcessor

from modeling_deit_lt import DeiTLTForImageClassification
from trainer.errors import CheckpointError
from trainer.safe_weights import refuse_pickles


def holds_student(folder: str | Path) -> bool:
    """Whether a model folder or checkpoint is a DeiT-LT student's, as its config.json says.

    Raises:
        CheckpointError: there is no config.json, or it cannot be read.
    """
    return _model_type(folder) == DeiTLTForImageClassification.config_class.model_type


def load_student(folder: str | Path) -> DeiTLTForImageClassification:
    """A student from a model folder or checkpoint, with every weight from the file.

    `from_pretrained` only warns where weights are missing and leaves them random, which is not good enough for figures
    that are reported or images that are classified.

    Raises:
        CheckpointError: it is no DeiT-LT model, or its weights are incomplete, foreign, unreadable or not finite.
    """
    if not holds_student(folder):
        raise CheckpointError(f"{folder} holds a {_model_type(folder) or 'timm'} model, not a DeiT-LT student")
    try:
        refuse_pickles(folder, "*.safetensors")
        model, info = DeiTLTForImageClassification.from_pretrained(
            folder, output_loading_info=True, use_safetensors=True
        )
    except Exception as error:  # a damaged file fails in as many ways as there are libraries that read it
        raise CheckpointError(f"{folder} cannot be loaded as a DeiT-LT student ({_reason(error)})") from error
    if info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"]:
        raise CheckpointError(f"{folder} does not hold the weights of a DeiT-LT student; name another folder")
    check_weights(folder, model)
    return model


def load_processor(folder: str | Path) -> BaseImageProcessor:
    """A model folder's image processor.

    Raises:
        CheckpointError: there is none.
    """
    try:
        return AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # as above
        raise CheckpointError(
            f"{folder} has no image processor; give a folder of deit-lt finetune or deit-lt train-teacher"
        ) from error


def check_weights(folder: str | Path, model: nn.Module) -> None:
    """Refuse weights that are not finite.

    Args:
        folder: that they come from.
        model: that holds them.

    Raises:
        CheckpointError: it names the first.
    """
    broken = next((name for name, weight in model.state_dict().items() if not torch.isfinite(weight).all()), None)
    if broken is not None:
        raise CheckpointError(f"{folder} holds weights that are not finite ({broken}); name another folder")


def _model_type(folder: str | Path) -> str | None:
    """The kind of model of a folder, None for timm's."""
    if not Path(folder, "config.json").is_file():
        raise CheckpointError(f"{folder} is not a model folder: it has no config.json")
    try:
        return json.loads(Path(folder, "config.json").read_text()).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder}: its config.json cannot be read ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
