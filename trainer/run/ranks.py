"""Work that the first rank does for all ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from trainer.errors import DeiTLTError


def from_first_rank(action: Callable[[], Any]) -> Any:
    """What `action` gives on the first rank, on every rank; its refusal is raised on all, so that none waits."""
    result, refusal = None, None
    if PartialState().is_main_process:
        try:
            result = action()
        except DeiTLTError as error:
            refusal = error
    result, refusal = broadcast_object_list([result, refusal])
    if refusal is not None:
        raise refusal
    return result
