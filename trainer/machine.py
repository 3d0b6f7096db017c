"""What this machine offers a process: cores, threads, workers, and whether bfloat16 pays."""

from __future__ import annotations

import gc
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = {"float32": "no", "bf16": "bf16", "fp16": "fp16"}  # and Accelerate's names of them
MOST_WORKERS = 16  # of one GPU; more of them wait for the disk


def cores_per_rank() -> int:
    """Cores that this process may use, shared with the other ranks of this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def default_workers(device: torch.device) -> int:
    """Processes that transform images.

    Beside a GPU all cores but one. On a CPU the network needs the cores: one process of four or more, and of fewer
    none, which trains a small student on two cores 1.2 to 1.5 times as fast as a worker beside one thread.
    """
    cores = cores_per_rank()
    return int(cores >= 4) if device.type == "cpu" else min(cores - 1, MOST_WORKERS)


def most_workers() -> int:
    """Processes that may be asked for; beyond twice the cores they only use memory, and a few dozen run anywhere."""
    return max(32, 2 * cores_per_rank())


def memory_of(device: torch.device) -> int:
    """Bytes of memory of a GPU, else of this machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if not hasattr(os, "sysconf"):  # Windows, of which nothing is asked
        return sys.maxsize
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def bf16_is_fast(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware of its own (NVIDIA's from Ampere on)."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware (x86 with AVX-512 BF16)."""
    return torch.cpu._is_avx512_bf16_supported()


def device_in_words(device: torch.device, ranks: int, precision: str) -> str:
    """The hardware that a figure is measured on, and the precision.

    Args:
        device: of one rank.
        ranks: how many there are.
        precision: "float32", "bf16" or "fp16".
    """
    if device.type == "cuda":
        return f"{ranks} x {torch.cuda.get_device_name(device)}, {precision}"
    return f"{device.type}, {platform.machine()}, {torch.get_num_threads()} threads, {precision}"


def free_memory() -> None:
    """Give back what networks that are done with still hold: trainers refer to themselves, so nothing else does."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def threads_beside(workers: int, device: torch.device) -> Iterator[None]:
    """On a CPU, compute with the cores that workers leave, at least half, during a block; OMP_NUM_THREADS wins.

    Threads that outnumber the cores wait for one another at every operation of a small network.
    """
    before = torch.get_num_threads()
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        cores = cores_per_rank()
        torch.set_num_threads(max(1, cores // 2, cores - workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)
