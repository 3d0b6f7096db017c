"""finetune in a process that kills itself at a call: `kill_worker.py MODULE:NAME[.METHOD] CALL WORDS ...`."""

import os
import signal
import sys
from importlib import import_module

from trainer.commands.boundary import run


def main(place: str, call: str, *words: str) -> None:
    module, _, path = place.partition(":")
    owner, *names = import_module(module), *path.split(".")
    for name in names[:-1]:
        owner = getattr(owner, name)
    function, calls = getattr(owner, names[-1]), []

    def counted(*args, **kwargs):
        calls.append(None)
        if len(calls) == int(call):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    setattr(owner, names[-1], counted)
    sys.argv = ["finetune.py", *words]
    run("finetune")


if __name__ == "__main__":
    main(*sys.argv[1:])
