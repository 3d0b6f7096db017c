"""The process of a contestant: `python -m trainer.benchmark.process`, started by `trainer.benchmark.turns`."""

from __future__ import annotations

import os
import traceback

import torch

from trainer.benchmark.entry import WARM_UP, Entry
from trainer.benchmark.images import images_of
from trainer.benchmark.our_loop import train_by_us
from trainer.benchmark.plain_loops import train_by_timm, train_by_torch
from trainer.benchmark.stopwatch import Channel, Ended, Stopwatch
from trainer.machine import threads_beside
from trainer.parsing import in_one_line


def main() -> None:
    """Read what to train, and train it in turns until there are no more."""
    channel = Channel.of_this_process()
    try:
        train(Entry.from_message(channel.receive()), channel)
    except Ended:
        pass
    except torch.OutOfMemoryError:
        channel.send({"error": "the memory of the device does not suffice; lower --batch_size or name --contestants"})
    except Exception as error:  # any: it is the other process's to tell
        traceback.print_exc()
        channel.send({"error": f"{type(error).__name__}: {in_one_line(error)}"})


def train(entry: Entry, channel: Channel) -> None:
    """Train as an entry says; ends by `Ended`."""
    args = entry.arguments()
    plain = train_by_torch if entry.case.student is None else train_by_timm
    loop = train_by_us if entry.ours else plain
    with threads_beside(args.dataloader_num_workers, args.device):
        images = images_of(entry, args)
        workers = 0 if getattr(images, "resident", False) else args.dataloader_num_workers
        ready = workers * (args.dataloader_prefetch_factor or 2)  # torch's default
        facts = {"threads": torch.get_num_threads(), "workers": workers}
        loop(entry, args, images, Stopwatch(channel, args.device, WARM_UP, ready, facts))
    raise RuntimeError("the training ended before its turns did")


if __name__ == "__main__":
    main()
    os._exit(0)  # compilers and loaders leave threads behind, for which Python would wait
