"""What a pass over all images found, kept in the user's cache folder, so that each pass is paid once."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import NamedTuple, TypeVar

import datasets

logger = logging.getLogger(__name__)

Result = TypeVar("Result", bound=NamedTuple)


def remembered_in() -> Path:
    """The folder of the results, below Hugging Face's cache (`HF_HOME`)."""
    return Path(datasets.config.HF_CACHE_HOME, "deit-lt", "checked")


def recall(key: str, kind: type[Result]) -> Result | None:
    """A result that was remembered.

    Args:
        key: of all that the result depends on, such as a digest in hexadecimal digits.
        kind: a NamedTuple of numbers, texts, lists or None.

    Returns:
        The result; None where there is none, or one of other fields.
    """
    try:
        found = json.loads((remembered_in() / f"{key}.json").read_text())
    except (OSError, ValueError):
        return None
    return kind(**found) if isinstance(found, dict) and set(found) == set(kind._fields) else None


def remember(key: str, result: NamedTuple) -> None:
    """Keep a result; where the cache cannot be written, a warning says that the pass will be repeated."""
    folder = remembered_in()
    unfinished = folder / f"{key}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(result._asdict()) + "\n")
        unfinished.replace(folder / f"{key}.json")
    except OSError as error:
        logger.warning(
            "%s cannot be written (%s), so the images will be checked again; set HF_HOME to a folder that can",
            folder,
            error.strerror,
        )
