"""Reading a student back, and knowing whether what lies there is one."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError

from modeling_deit_lt import DeiTLTForImageClassification
from trainer.errors import CheckpointError


def load_student(folder: str | Path) -> DeiTLTForImageClassification:
    """A student from a model folder or checkpoint, with every weight from the file.

    Trainer's own loading does not translate the names that a file has (see `modeling_deit_lt`), and `from_pretrained`
    only warns where weights are missing and leaves them random; neither is good enough for figures that are reported.

    Raises:
        CheckpointError: it is no DeiT-LT model, or its weights are incomplete, foreign or unreadable.
    """
    try:
        model_type = json.loads(Path(folder, "config.json").read_text()).get("model_type")
        if model_type != DeiTLTForImageClassification.config_class.model_type:
            raise CheckpointError(f"{folder} holds a {model_type or 'timm'} model, not a DeiT-LT student")
        model, info = DeiTLTForImageClassification.from_pretrained(folder, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder} cannot be loaded as a DeiT-LT student ({reason})") from error
    if info["missing_keys"] or info["unexpected_keys"]:
        raise CheckpointError(f"{folder} does not hold the weights of a DeiT-LT student; name another folder")
    return model


def last_complete_checkpoint(folder: str | Path) -> str | None:
    """The newest checkpoint of a run that was saved to its end, or None.

    Trainer writes `trainer_state.json` last; a checkpoint without one that parses was cut off while it was saved.
    """
    found = [path for path in Path(folder).glob("checkpoint-*") if path.name.split("-")[1].isdigit()]
    for path in sorted(found, key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text())
        except (OSError, ValueError):
            continue
        return str(path)
    return None
