"""Fields of the argument classes: their help texts and intervals."""

from __future__ import annotations

from dataclasses import field


def setting(default, text: str, **metadata):
    """A dataclass field with its help text; lists become default factories."""
    metadata["help"] = text
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
