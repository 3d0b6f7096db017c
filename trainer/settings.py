"""Fields of the argument classes: their help texts, their intervals, and which of them decide what is learned."""

from __future__ import annotations

from dataclasses import MISSING, field, fields
from enum import Enum

GLOBAL_BATCH = "train_batch_size of all ranks"


def setting(default, text: str, decides: bool = True, **metadata):
    """A dataclass field with its help text; lists become default factories.

    Args:
        default: of the field.
        text: what the setting is, in a sentence.
        decides: whether what is learned depends on it, rather than where it is written or how it is watched.
        metadata: what else the field should carry, such as `choices`.
    """
    metadata |= {"help": text, "decides": decides}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def check_ranges(arguments, ranges: dict[str, str]) -> None:
    """Refuse a setting outside its interval, such as "[0, 1)"; None is left to who allows it."""
    for name, interval in ranges.items():
        value = getattr(arguments, name)
        low, high = (float(bound) for bound in interval[1:-1].split(","))
        if value is None:
            continue
        above = value >= low if interval[0] == "[" else value > low
        below = value <= high if interval[-1] == "]" else value < high
        if not (above and below):
            raise ValueError(f"{name} must lie in {interval}, got {value}")


def deciding_settings(arguments) -> dict:
    """The settings of an argument class that decide what is learned, by name, as JSON takes them."""
    own = [entry.name for entry in fields(arguments) if entry.metadata.get("decides")]
    names = [*own, *getattr(arguments, "inherited_that_decide", ())]
    return {name: _plain(getattr(arguments, name)) for name in names}


def over_all_ranks(arguments) -> dict:
    """The deciding settings of a training, with the batch of all ranks: however many share it, the run is the same."""
    settings = deciding_settings(arguments)
    batch = settings.pop("per_device_train_batch_size") * arguments.world_size
    return {**settings, GLOBAL_BATCH: batch}


def changed_settings(arguments) -> dict:
    """Those of the deciding settings that differ from their defaults, by name."""
    changed, deciding = {}, deciding_settings(arguments)
    for entry in fields(arguments):
        default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
        if entry.name in deciding and deciding[entry.name] != _plain(default):
            changed[entry.name] = deciding[entry.name]
    return changed


def _plain(value):
    return value.value if isinstance(value, Enum) else value
