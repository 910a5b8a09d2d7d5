"""What `recover` says: sentences on what was done, some of which say what was left."""

from __future__ import annotations

from collections.abc import Iterable


class Left(str):
    """A sentence on what could be neither finished nor undone: `recover` ends with an error."""


def left_of(sentences: Iterable[str]) -> list[str]:
    """Those that say what was left."""
    return [each for each in sentences if isinstance(each, Left)]
