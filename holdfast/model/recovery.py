"""What `recover` says: sentences on what was done, some of which say what was left."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.late_dataclass import dataclass


class Left(str):
    """A sentence on what could be neither finished nor undone: `recover` ends with an error."""


class BeingDone(str):
    """A sentence on what a living command is at work on: `recover` ends with its own error."""


@dataclass(frozen=True)
class RecoveryReport:
    """What was interrupted, in words."""

    actions: tuple[str, ...]
    """Everything that is to be said."""
    left: tuple[str, ...]
    """Those that say what was left."""
    being_done: tuple[str, ...] = ()
    """Those that say what a living command is at work on."""


def recovery_of(sentences: Iterable[str]) -> RecoveryReport:
    """Sentences, some of which are Left or BeingDone."""
    told = tuple(sentences)
    return RecoveryReport(tuple(map(str, told)), _those(Left, told), _those(BeingDone, told))


def _those(kind: type[str], told: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(each) for each in told if isinstance(each, kind))
