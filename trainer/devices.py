"""Devices in words."""

from __future__ import annotations

import platform

import torch


def device_in_words(device: torch.device, ranks: int) -> str:
    """The hardware that a figure is measured on.

    Args:
        device: of one rank.
        ranks: how many there are.
    """
    if device.type == "cuda":
        return f"{ranks} x {torch.cuda.get_device_name(device)}"
    return f"{device.type}, {platform.machine()}, {torch.get_num_threads()} threads"
