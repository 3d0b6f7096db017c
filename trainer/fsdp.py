"""FSDP 2: each rank keeps its share of the student's weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import Trainer

from modeling_deit_lt import DeiTLTForImageClassification
from modeling_deit_lt.layers_deit_lt import DeiTLTLayer
from trainer.errors import RunError


def divide_layers(trainer: Trainer) -> None:
    """Have FSDP, where it was asked for, divide the layers of a student.

    Raises:
        RunError: FSDP 1, or weights that each rank saves by itself, which leave no model folder.
    """
    plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    if plugin is None:
        return
    if plugin.fsdp_version != 2 or "FULL" not in str(plugin.state_dict_type):
        raise RunError(
            "FSDP needs fsdp_version 2 and fsdp_state_dict_type FULL_STATE_DICT here, as in the configuration that "
            "`deit-lt recipes fsdp2` prints"
        )
    # Accelerate would divide the embeddings, too, and then once more the patch embedding in them, which fails.
    plugin.transformer_cls_names_to_wrap = [DeiTLTLayer.__name__]
    # Nothing here changes outputs in place, which is what torch warns of at every evaluation.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")


@contextmanager
def plain_class(trainer: Trainer) -> Iterator[None]:
    """Context manager: a trainer's model without weights, of its own class, for transformers to save with weights.

    It would copy the code of FSDP's class into the folder. Without FSDP nothing changes.
    """
    divided = trainer.model
    if trainer.is_fsdp_enabled:
        with torch.device("meta"):
            trainer.model = DeiTLTForImageClassification(divided.config)
    try:
        yield
    finally:
        trainer.model = divided
