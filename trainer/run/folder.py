"""Output folder of a run: lock, refusal of folders with other content, and the checkpoint to resume from."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from trainer.arguments import SOURCES
from trainer.base_arguments import RunArguments
from trainer.callbacks import EMA_FILE
from trainer.data import UNDECODABLE
from trainer.errors import CheckpointError, DeiTLTError, RunError
from trainer.ranks import from_first_rank, on_every_machine
from trainer.resuming import check_checkpoint, last_complete_checkpoint
from trainer.run.files import read_json, write_json
from trainer.stopping import raise_terminated

logger = logging.getLogger(__name__)

LOCK = ".lock"
TRACEBACK = "traceback.txt"
SETTINGS = "settings.json"  # written when training starts: whose folder it is, and what was asked for
IGNORED = (LOCK, TRACEBACK, UNDECODABLE, f"{SETTINGS}.tmp")  # what a start leaves that came to nothing
METRICS = "metrics.json"  # written last: its presence means that the run is complete

RESUME = "--resume_from_checkpoint=true"
SECONDS_BETWEEN_TRIES = 2


@contextmanager
def open_run(args: RunArguments, kind: str, settings: dict) -> Iterator[str | None]:
    """Context manager: lock the output folder of a run.

    An error that nobody foresaw leaves its traceback in the folder; its notes (PEP 678) say so, and
    those of a keyboard interrupt, or of SIGTERM, say how to go on.

    Args:
        args: of the run.
        kind: "student" or "teacher".
        settings: what its recipe asks for, as `begin` wrote it where the run was begun.

    Yields:
        The checkpoint to resume from, or None for a run that starts: also for one that was cut off before its first.

    Raises:
        RunError: another run works in the folder, it holds something else, or it cannot be written.
        CheckpointError: there is nothing to resume as asked, or it was begun with other settings.
    """
    folder, asked = Path(args.output_dir), args.resume_from_checkpoint or "false"
    if asked.lower() == "true" and not from_first_rank(folder.is_dir):
        raise CheckpointError(f"there is no run in {folder} to resume; leave --resume_from_checkpoint out")
    with locked(folder):
        checkpoint = from_first_rank(lambda: _checkpoint_to_resume(folder, asked, kind, _files_of(args), settings))
        try:
            with raise_terminated(), on_every_machine(checkpoint) as local:
                yield local
        except KeyboardInterrupt as stop:
            inside = asked.lower() in ("true", "false") or any(folder.glob("checkpoint-*"))
            stop.add_note(RESUME if inside else f"--resume_from_checkpoint={asked}")
            raise
        except DeiTLTError:
            raise
        except Exception as error:
            error.add_note(_keep_traceback(folder, error))
            if any(folder.glob("checkpoint-*")):
                error.add_note(RESUME)
            raise


@contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Context manager: lock a folder, which is made if it is missing, against other runs.

    Args:
        folder: of a run.
        wait: until another run has left it, rather than refuse. Default False.

    Raises:
        RunError: another run works there, or the folder cannot be made or written.
    """
    lock = FileLock(folder / LOCK)

    def acquire() -> bool:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"folder {folder} cannot be written ({reason}); name another one") from error
        return True

    told = False
    while not from_first_rank(acquire):
        if not wait:
            raise RunError(f"another run works in {folder}; wait for its end, or name another --output_dir")
        if not told:
            logger.warning("another run works in %s; waiting for its end", folder)
            told = True
        time.sleep(SECONDS_BETWEEN_TRIES)
    try:
        yield
    finally:
        lock.release()


def holds_something(folder: Path) -> bool:
    """Whether a folder has more in it than what a failed start leaves."""
    return folder.is_dir() and any(path.name not in IGNORED for path in folder.iterdir())


def begin(folder: Path, kind: str, settings: dict) -> None:
    """Mark a folder as that of a run, right before it trains."""
    write_json(folder / SETTINGS, {"kind": kind, **settings})


def kind_of(folder: Path) -> str | None:
    """ "student" or "teacher" for the folder of a run that has trained a while; None for any other."""
    return settings_of(folder).get("kind")


def settings_of(folder: Path) -> dict:
    """What the run of a folder was begun with; nothing where there is none."""
    return read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}


def refuse_other_data(checkpoint: str | None, digest: str) -> None:
    """Refuse to go on with other images or labels than those that a run was begun with.

    Args:
        checkpoint: to resume from, or None.
        digest: of the data.

    Raises:
        CheckpointError: they are others.
    """
    if checkpoint is not None and settings_of(Path(checkpoint).parent).get("data", digest) != digest:
        raise CheckpointError(
            f"the run of {checkpoint} was begun with other images, labels or class names; restore them, or begin a "
            "new run in another --output_dir"
        )


def differences(begun: dict, now: dict) -> list[str]:
    """The settings that differ from those that a run was begun with, each with both values.

    Args:
        begun: from the folder's settings.json.
        now: as a recipe's `asked`.
    """
    begun, now = _flat(begun), _flat(json.loads(json.dumps(now)))
    names = [name for name in now if name not in begun or begun[name] != now[name]]
    return [f"{name} {begun.get(name, 'unknown')}, now {now[name]}" for name in names]


def _flat(asked: dict, owner: str = "") -> dict:
    """One level of names; those of the teacher's recipe are marked as such."""
    settings = asked.get("settings")
    flat = {owner + name: value for name, value in settings.items()} if isinstance(settings, dict) else {}
    for name, value in asked.items():
        if name == "teacher" and isinstance(value, dict):
            flat |= {"teacher": "a recipe", **_flat(value, "teacher's ")}
        elif name in ("teacher", "group_boundaries"):
            flat[owner + name] = value
    return flat


def _refuse_other_settings(folder: Path, settings: dict) -> None:
    begun = settings_of(folder)
    found = differences(begun, settings) if begun else []  # none where no run wrote it: by DeiTLTTrainer, from Python
    found = [text for text in found if text.split()[0] not in SOURCES]  # may lie elsewhere; their digest is compared
    if found:
        raise CheckpointError(
            f"the run in {folder} was begun with other settings ({'; '.join(found)}); go on with the same, or "
            "begin a new run in another --output_dir"
        )


def _files_of(args: RunArguments) -> tuple[str, ...]:
    """What a run's checkpoints have besides Trainer's files."""
    return (EMA_FILE,) if getattr(args, "ema_decay", 0) else ()


def _checkpoint_to_resume(folder: Path, asked: str, kind: str, also: tuple[str, ...], settings: dict) -> str | None:
    named = None if asked.lower() in ("true", "false") else Path(asked)
    if named is not None:
        # The settings first: they say why a file may be missing.
        _refuse_other_settings(named.parent, settings)
        check_checkpoint(named, also)
    inside = named is not None and named.resolve().parent == folder.resolve()
    if asked.lower() != "true" and not inside:
        if holds_something(folder):
            unfinished = kind_of(folder) == kind and not (folder / METRICS).is_file()
            remedy = "go on with --resume_from_checkpoint true, or " if unfinished else ""
            raise RunError(f"output folder {folder} is not empty; {remedy}name another --output_dir")
    elif (folder / METRICS).is_file():
        raise RunError(f"the run in {folder} is complete; name another --output_dir for a new one")
    elif holds_something(folder) and kind_of(folder) != kind:
        raise CheckpointError(f"there is no {kind}'s run in {folder} to resume; name another --output_dir")
    else:
        _refuse_other_settings(folder, settings)
    if asked.lower() != "true":
        return asked if named else None
    checkpoint = last_complete_checkpoint(folder, also)
    if checkpoint is None and holds_something(folder):
        logger.warning("%s has no whole checkpoint; the run starts anew", folder)
    return checkpoint


def _keep_traceback(folder: Path, error: Exception) -> str:
    try:
        (folder / TRACEBACK).write_text("".join(traceback.format_exception(error)))
    except OSError as refusal:
        return f"its traceback could not be written to {folder} ({refusal.strerror})"
    return f"its traceback is in {folder / TRACEBACK}"
