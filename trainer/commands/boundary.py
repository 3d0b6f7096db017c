"""Exit codes of all commands: 0 done, 1 one line that says what is wrong, 2 usage, 130 interrupted, 141 nobody reads
the output, 143 terminated (by SIGTERM, after a checkpoint where a training was under way); no tracebacks."""

from __future__ import annotations

import errno
import os
import re
import select
import shlex
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path

from trainer.errors import DeiTLTError, SettingError

# What a machine refuses, and what to do.
NOT_OURS = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room in your quota",
    errno.EROFS: "name a place that can be written",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EEXIST: "name another place",
    errno.ENOTDIR: "name another place",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or lower dataloader_num_workers",
}


def run(command: str, words: list[str] | None = None) -> None:
    """Call a command with the words of the command line, and end the process.

    Args:
        command: such as "train-teacher"; its module is imported here, so that an interrupt meanwhile is one line too.
        words: those after the command's name. Default: all of the command line.
    """
    try:
        main = import_module(f"trainer.commands.{command.replace('-', '_')}").main
        _quiet_libraries()
        main(sys.argv[1:] if words is None else words)
        sys.stdout.flush()  # not at the end of the process, where nobody could tell that it failed
        _leave_the_other_ranks()
    except SettingError as error:
        end(_once(f"error: {error}"), 2)
    except DeiTLTError as error:
        end(f"error: {error}", 1)
    except KeyboardInterrupt as stop:
        # By its name, since the import of its module takes seconds where a command is interrupted before it.
        word, code = ("terminated", 143) if type(stop).__name__ == "Terminated" else ("interrupted", 130)
        end(_once(f"{word}{_how_to_go_on(stop)}"), code)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            end(_how_to_go_on(error).removeprefix("; "), 141)
        if error.errno not in NOT_OURS:
            end(_unexpected(error), 1)
        where = f": {error.filename}" if error.filename else ""
        end(f"error: {error.strerror}{where}; {NOT_OURS[error.errno]}{_how_to_go_on(error)}", 1)
    except Exception as error:  # unexpected; the traceback is kept for a bug report
        end(_unexpected(error), 1)


def _leave_the_other_ranks() -> None:
    """Close the connections in order: gloo now and then aborts a process that ends with open ones."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _nobody_reads() -> bool:
    """Whether the output was cut off, as by `| head`; then nothing is printed any more, not at the end either."""
    output = select.poll()
    output.register(sys.stdout.fileno(), select.POLLOUT)
    cut_off = any(event & select.POLLERR for _, event in output.poll(0))
    if cut_off:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return cut_off


def _once(line: str) -> str:
    """A line that is the same on all ranks, for one of them to say."""
    return line if os.environ.get("RANK", "0") == "0" else ""


def _unexpected(error: Exception) -> str:
    return f"error: {_kind_and_place(error)}; {_where_the_traceback_is(error)}"


def _quiet_libraries() -> None:
    if "transformers" not in sys.modules:  # nothing to be quiet, and its import takes seconds
        return
    from transformers import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()  # of saving and loading; the training bar stays


def end(line: str, code: int) -> None:
    """Print one line on standard error and exit."""
    if line:
        print(" ".join(line.split()), file=sys.stderr)
    sys.exit(code)


def _how_to_go_on(stop: BaseException) -> str:
    """A run's folder notes on what ended it the flag that resumes it."""
    note = _note(stop, "--resume")
    if note is None:
        return ""
    if "LOCAL_RANK" in os.environ:  # whoever launched the ranks has flags of its own
        return f"; go on with the same command and {note}"
    script = Path(sys.argv[0])
    words = shlex.join(
        [
            *(["python", str(script)] if script.suffix == ".py" and script.name != "__main__.py" else ["deit-lt"]),
            *sys.argv[1:],
        ]
    )
    words = re.sub(r" --resume[_-]from[_-]checkpoint(=\S*| [^-]\S*)?", "", words)
    return f"; go on with: {words} {note}"


def _note(error: BaseException, start: str) -> str | None:
    """The note of a run's folder; libraries leave notes of their own."""
    notes = [note for note in getattr(error, "__notes__", []) if note.startswith(start)]
    return notes[-1] if notes else None


def _kind_and_place(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}: {str(error)[:300]}"


def _where_the_traceback_is(error: Exception) -> str:
    """A run's folder keeps the traceback and notes it; for other commands it goes to a temporary file."""
    note = _note(error, "its traceback")
    if note is not None:
        return note
    with tempfile.NamedTemporaryFile("w", prefix="deit-lt-", suffix=".txt", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    return f"its traceback is in {file.name}"
