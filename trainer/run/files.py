"""JSON files of a run: written atomically, read with an error of one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

from trainer.errors import CheckpointError


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file that people read too; a kill leaves the old file or the new one, never a part."""
    unfinished = path.with_name(f"{path.name}.tmp")
    with unfinished.open("w") as file:
        file.write(json.dumps(content, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read_json(path: Path) -> dict:
    """Read a JSON file that this package wrote.

    Raises:
        CheckpointError: it cannot be read or holds something else.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} cannot be read ({reason}); remove or restore it") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} does not hold what this package writes there; remove or restore it")
    return content
