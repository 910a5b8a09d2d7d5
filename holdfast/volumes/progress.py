"""Telling the caller which step begins: one callback, optional everywhere."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Called with a few words when a step begins: `make the file system`."""


def silent(step: str) -> None:
    """The callback of those who do not care."""
