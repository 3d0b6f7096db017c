"""Weights are read from safetensors files alone: pickles, as torch.save writes them, run code when they are read."""

from __future__ import annotations

from pathlib import Path

PICKLES = (".bin", ".pth", ".pt", ".pkl", ".tar", ".ckpt")
REMEDY = "save them as model.safetensors (save_pretrained, or timm's save_for_hf), on a machine that trusts the file"


def refuse_pickles(folder: str | Path, name: str) -> None:
    """Refuse a model folder without weights in the safetensors format.

    Args:
        folder: of the model.
        name: the file that is wanted, which may be a pattern, such as "*.safetensors".

    Raises:
        ValueError: it names the pickle that is there instead, or says that there are no weights.
    """
    if next(Path(folder).glob(name), None) is not None:
        return
    pickle = next((path.name for path in sorted(Path(folder).iterdir()) if path.name.endswith(PICKLES)), None)
    if pickle is None:
        raise ValueError(f"it has no {name}, the file of its weights")
    raise ValueError(f"its weights are in {pickle}, and such files can run code, so they are not read; {REMEDY}")
