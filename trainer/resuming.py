"""Checkpoints of a training: what completes one, which one a run resumes from, and what is refused."""

from __future__ import annotations

import json
import logging
import pickle
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers import TrainerState
from transformers.trainer_pt_utils import safe_globals
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from trainer.errors import CheckpointError, UnsafeFileError

logger = logging.getLogger(__name__)

STATE = "trainer_state.json"  # Trainer writes it last
CHECKSUMS = "checksums.json"  # of all other files
# Patterns of which one must be there; the second ones are those of FSDP and DeepSpeed.
NEEDED = (
    ("model*.safetensors", "pytorch_model_fsdp*", "global_step*"),
    ("optimizer.pt", "optimizer*", "global_step*"),
    ("scheduler.pt",),
    ("rng_state*.pth",),
)
BLOCK = 2**24


def checkpoint_folder(run: str | Path, step: int) -> Path:
    """Where Trainer keeps the checkpoint of an optimiser step."""
    return Path(run, f"{PREFIX_CHECKPOINT_DIR}-{step}")


def last_complete_checkpoint(folder: str | Path, also: tuple[str, ...] = ()) -> str | None:
    """The newest complete checkpoint of a run, or None; a warning names each that is incomplete.

    Args:
        folder: of the run.
        also: as for `check_checkpoint`.

    Raises:
        UnsafeFileError: as `check_checkpoint`; nobody but an attacker makes such a file, so no older one is taken.
    """
    found = [path for path in Path(folder).glob("checkpoint-*") if path.name.split("-")[1].isdecimal()]
    for path in sorted(found, key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            check_checkpoint(path, also)
        except UnsafeFileError:
            raise
        except CheckpointError as error:
            logger.warning("%s; passed over", error)
            continue
        return str(path)
    return None


def share_done(checkpoint: str | Path | None) -> float:
    """How much of a training a checkpoint has behind it, in [0, 1]; 0 for none."""
    if checkpoint is None:
        return 0.0
    state = json.loads(Path(checkpoint, STATE).read_text())
    return state["global_step"] / max(1, state.get("max_steps", 0), state["global_step"])


def check_checkpoint(folder: str | Path, also: tuple[str, ...] = ()) -> None:
    """Refuse a checkpoint that a run cannot resume from. Nothing in it is executed.

    Args:
        folder: of the checkpoint.
        also: names of files that this run needs besides Trainer's. Default: none.

    Raises:
        CheckpointError: it was cut off while it was saved, or a file of it is missing or damaged.
        UnsafeFileError: a file of it holds more than data.
    """
    folder = Path(folder)
    if not (folder / STATE).is_file():
        raise CheckpointError(f"{folder} is not a complete checkpoint: it has no {STATE}")
    for patterns in (*NEEDED, *((name,) for name in also)):
        if not any(next(folder.glob(pattern), None) for pattern in patterns):
            raise CheckpointError(f"{folder} is not a complete checkpoint: it has no {patterns[0]}")
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        if _is_damaged(file):
            raise CheckpointError(f"{folder} is not a complete checkpoint: {file.name} is damaged")
    for name, checksum in _checksums(folder).items():
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not a complete checkpoint: it has no {name}")
        if _checksum(folder / name) != checksum:
            raise CheckpointError(f"{folder} is not a complete checkpoint: {name} is damaged")


def write_checksums(folder: str | Path) -> None:
    """Write the CRC-32 of every file of a checkpoint, against files that a crash of the machine leaves torn.

    Args:
        folder: of the checkpoint.
    """
    folder = Path(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name not in (STATE, CHECKSUMS))
    (folder / CHECKSUMS).write_text(json.dumps({path.name: _checksum(path) for path in files}, indent=2) + "\n")


def _checksums(folder: Path) -> dict[str, int]:
    """What `write_checksums` wrote; nothing in a checkpoint that has none."""
    file = folder / CHECKSUMS
    return json.loads(file.read_text()) if file.is_file() else {}


def _checksum(file: Path) -> int:
    checksum = 0
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _is_damaged(file: Path) -> bool:
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt"):
                return False
        if file.suffix in (".pt", ".pth", ".bin"):  # torch's files are zip archives with checksums
            with zipfile.ZipFile(file) as archive:
                if archive.testzip() is not None:
                    return True
            _load_as_data(file)
        if file.suffix == ".json":
            content = json.loads(file.read_text())
            return file.name in (STATE, CHECKSUMS) and not _is_ours(file.name, content)
    except (OSError, ValueError, RuntimeError, SafetensorError, zipfile.BadZipFile):
        return True
    return False


def _is_ours(name: str, content) -> bool:
    if not isinstance(content, dict):
        return False
    if name == STATE:
        numbers = [content.get("global_step"), content.get("max_steps")]
        known = content.keys() <= {entry.name for entry in fields(TrainerState)}
        return known and all(type(number) is int for number in numbers)
    return all(type(number) is int for number in content.values())


def _load_as_data(file: Path) -> None:
    """Read a file of torch as Trainer will: tensors and numbers alone."""
    try:
        with safe_globals():
            torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise UnsafeFileError(
            f"{file} holds more than data, which could run code, and was not loaded; take the checkpoint away, and "
            "trust nothing else from where it comes"
        ) from error
