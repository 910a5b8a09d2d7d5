"""A list for people that may be long. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def first_of(items: Sequence[object], most: int, between: str = ", ") -> str:
    """The first `most` of them, and how many there are beyond: `a, b and 4 more`."""
    beyond = len(items) - most
    return between.join(map(str, items[:most])) + (f" and {beyond} more" if beyond > 0 else "")
