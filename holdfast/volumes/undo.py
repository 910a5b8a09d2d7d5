"""Undoing half-done work: what was done last is undone first, and every failure to undo is told.

Invariant: after an error each registered action has been tried, whatever became of the others; the
error that the caller sees is the first one, with what could not be undone in its message.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from holdfast.errors import HoldfastError


class Undo:
    """`with Undo() as undo:` … `undo.add("detach", detach)`; nothing happens when all went well."""

    def __init__(self) -> None:
        self._actions: list[tuple[str, Callable[[], object]]] = []

    def add(self, words: str, action: Callable[[], object]) -> None:
        """Register the idempotent action that takes back the step which comes next."""
        self._actions.append((words, action))

    def __enter__(self) -> Undo:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        failures = []
        for words, action in reversed(self._actions):
            try:
                action()
            except (HoldfastError, OSError) as failure:
                failures.append(f"{words}: {failure}")
        if failures and isinstance(error, HoldfastError):
            error.message += "; it could not be undone entirely: " + "; ".join(failures)
            error.args = (error.message,)
            error.mend = f"{error.mend} Then: holdfast recover.".strip()
