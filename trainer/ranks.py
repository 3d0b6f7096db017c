"""What ranks do together: work of the first one for all, weights and files that only the first one has."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object, patch_environment
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.tensor import DTensor

from trainer.errors import DeiTLTError


def from_first_rank(action: Callable[[], Any]) -> Any:
    """What `action` gives on the first rank, on every rank; its refusal is raised on all, so that none waits."""
    return broadcast_object_list([on_first_rank(action)])[0]


def on_first_rank(action: Callable[[], Any]) -> Any:
    """What `action` gives on the first rank; nothing on the others, where its refusal is raised too."""
    result, refusal = None, None
    if PartialState().is_main_process:
        try:
            result = action()
        except DeiTLTError as error:
            refusal = error
    (refusal,) = broadcast_object_list([refusal])
    if refusal is not None:
        raise refusal
    return result


def whole_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as one process without FSDP would have them, on the CPU of the first rank; nothing on the others.

    Args:
        weights: a state dict, of which each rank may have its share.
    """
    whole = {}
    for name, weight in weights.items():
        full = weight.full_tensor() if isinstance(weight, DTensor) else weight  # by all ranks together
        if PartialState().is_main_process:
            whole[name] = full.detach().cpu()
    return whole


def load_from_first_rank(model: nn.Module, weights: dict[str, Tensor] | None) -> None:
    """Give a model on every rank the weights that the first one has.

    Args:
        model: whole, or with a share of its weights on each rank.
        weights: whole state dict on the first rank; not looked at on others.
    """
    if PartialState().num_processes == 1:
        model.load_state_dict(weights)
        return
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, dict(weights) if PartialState().is_main_process else {}, options=options)


@contextmanager
def whole_networks() -> Iterator[None]:
    """Context manager: every rank has the whole network, also where the launcher divides networks between them.

    For small CNNs, of which dividing saves no memory. Arguments that are made inside know no FSDP and no DeepSpeed.
    """
    with patch_environment(accelerate_use_fsdp="false", accelerate_use_deepspeed="false"):
        yield


@contextmanager
def on_every_machine(folder: str | None) -> Iterator[str | None]:
    """Context manager: a folder of the first machine on all of them, in a temporary folder where it is missing.

    Args:
        folder: with files alone, which the first rank sees; or None for none.

    Yields:
        Its path on this machine: as it is, where all files are there.
    """
    state = PartialState()
    if folder is None or int(os.environ.get("LOCAL_WORLD_SIZE", state.num_processes)) == state.num_processes:
        yield folder
        return
    digests = from_first_rank(lambda: _digests(folder))
    lacks = state.is_local_main_process and not digests.items() <= _digests(folder).items()
    with TemporaryDirectory(prefix="deit-lt-") as copy:
        if any(gather_object([lacks])):
            for name in digests:
                content = from_first_rank(Path(folder, name).read_bytes)
                if lacks:
                    Path(copy, name).write_bytes(content)
        places = gather_object([copy if lacks else folder])
        yield places[state.process_index - state.local_process_index]


def _digests(folder: str) -> dict[str, str]:
    digests = {}
    for path in Path(folder).glob("*"):
        if path.is_file():
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def gather_files(write: Callable[[str], None], folder: str) -> None:
    """Have every rank write files into a folder of the first one, whose disk the others may not see.

    Args:
        write: writes this rank's files, of names that no other rank has, into the folder that it is given.
        folder: of the first rank.
    """
    with TemporaryDirectory(prefix="deit-lt-") as own:
        write(own)
        files = gather_object([(path.name, path.read_bytes()) for path in Path(own).iterdir()])
    if PartialState().is_main_process:
        for name, content in files:
            Path(folder, name).write_bytes(content)
