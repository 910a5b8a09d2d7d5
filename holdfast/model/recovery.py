"""What `recover` says: sentences on what was done, some of which say what was left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class Left(str):
    """A sentence on what could be neither finished nor undone: `recover` ends with an error."""


@dataclass(frozen=True)
class RecoveryReport:
    """What was interrupted, in words."""

    actions: tuple[str, ...]
    """Everything that is to be said."""
    left: tuple[str, ...]
    """Those that say what was left."""


def recovery_of(sentences: Iterable[str]) -> RecoveryReport:
    """Sentences, some of which are Left."""
    told = tuple(sentences)
    return RecoveryReport(
        tuple(map(str, told)), tuple(str(each) for each in told if isinstance(each, Left))
    )
