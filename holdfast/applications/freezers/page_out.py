"""Freezes processes in another way and gives their memory back: they are swapped out.

They come back page by page as they run. Without swap only pages of files can go; what is resident
before and after is in the state, so that nobody has to believe it went. Memory that others map too
stays. Must never reclaim in the calling process: it may wait for storage.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from holdfast.applications.freezers.protocol import (
    Freezer,
    Note,
    Process,
    State,
    processes_in,
)
from holdfast.errors import HoldfastError
from holdfast.model.finding import Finding, Verdict
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.processes.process_state import open_process
from holdfast.system.resources.memory import resident_bytes
from holdfast.system.resources.reclaim import page_out, swap_bytes

_LEAST_SECONDS = 0.02
"""What reclaiming an ordinary process takes; those that come late in the row get no less."""


class PageOut:
    """The freezer `page-out`. `ways`: freezers that can stop them first, the best one first."""

    name = "page-out"

    def __init__(self, ways: Sequence[Freezer]) -> None:
        self._ways = ways

    def can(self, processes: Sequence[Process]) -> list[Finding]:
        """What speaks against every freezer that could stop them, and whether there is swap."""
        found = self._best(processes).can(processes)
        if not swap_bytes():
            found.append(
                Finding(
                    "page-out",
                    Verdict.LIMITED,
                    "this host has no swap",
                    "Only pages of files can be given back; memory of their own stays.",
                    "Add swap (swapon), or use another way.",
                )
            )
        return found

    def freeze(self, processes: Sequence[Process], note: Note, wait_seconds: float) -> State:
        """Stop them, then give their pages back: `wait_seconds` at most for each of the two."""
        way = self._best(processes)

        def wrap(inner: State, memory: list[dict[str, Any]]) -> State:
            return {
                "processes": inner["processes"],
                "left": inner["left"],
                "by": way.name,
                "inner": inner,
                "memory": memory,
            }

        inner = way.freeze(processes, lambda state: note(wrap(state, [])), wait_seconds)
        deadline = time.monotonic() + wait_seconds
        memory = [
            _page_out(each, max(_LEAST_SECONDS, deadline - time.monotonic()))
            for each in processes_in(inner)
        ]
        state = wrap(inner, memory)
        note(state)
        return state

    def thaw(self, state: State) -> list[str]:
        """Thaw as the other freezer does; pages return when they are touched."""
        return self._way(state).thaw(state["inner"])

    def frozen(self, state: State) -> bool:
        """Whether everyone is frozen, by the other freezer's judgement."""
        return self._way(state).frozen(state["inner"])

    def awake(self, state: State) -> list[int]:
        """Who is not frozen yet, by the other freezer's judgement."""
        return self._way(state).awake(state["inner"])

    def insist(self, state: State) -> list[int]:
        """Freeze again, as the other freezer does."""
        return self._way(state).insist(state["inner"])

    def _best(self, processes: Sequence[Process]) -> Freezer:
        for way in self._ways:
            if all(finding.verdict is not Verdict.BLOCKS for finding in way.can(processes)):
                return way
        return self._ways[-1]

    def _way(self, state: State) -> Freezer:
        return next(way for way in self._ways if way.name == state["by"])


def _page_out(process: Process, wait_seconds: float) -> dict[str, Any]:
    def reclaim() -> int:
        descriptor = open_process(process.pid, process.start_time)
        if descriptor is None:
            return 0
        try:
            return page_out(process.pid, descriptor)
        finally:
            os.close(descriptor)

    result: dict[str, Any] = {"pid": process.pid, "before_bytes": resident_bytes(process.pid)}
    try:
        result["asked_bytes"] = in_expendable_child(
            reclaim, wait_seconds, f"the memory of {process}"
        )
    except (HoldfastError, OSError) as error:
        result["asked_bytes"] = 0
        result["error"] = str(error)
    result["after_bytes"] = resident_bytes(process.pid)
    return result
