"""What is remembered of the volume apart from its legs: gate.json, by way of the coordinator.

The legs know a new epoch before it is asked for here. Whether somebody else may have the volume all
the same is the coordinator's to say: where it arbitrates, nothing that needs the new epoch may be
answered before it has agreed; where it does not (one host), a state directory that is full or
hangs stops nobody, is told, and is tried again. Invariant: one attempt at a time; and once it was
refused, no process of this gate asks again, takes a leg in, or answers anything: the shared page
says so.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable
from pathlib import Path

from holdfast.coordination import Coordinator
from holdfast.errors import Superseded
from holdfast.gate.members.configuration import FILE_NAME, GateConfiguration, text_of
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import Hand
from holdfast.system.boot import boot_id

STATE = (1 << 32) + 2
"""Stands for the state directory where a hand says which leg it is in."""

_HANGS = "an earlier attempt has not been answered"


class EpochMemory:
    """Of one worker; what was remembered, and a refusal, outlive it."""

    def __init__(
        self,
        state_directory: Path,
        epoch: int,
        cells: memoryview,
        coordinator: Coordinator,
        keep_copy: Callable[[GateConfiguration], None],
        on_unsaved: Callable[[str], None],
    ) -> None:
        """`epoch`: of gate.json, when this is the first worker of the gate. `keep_copy`: called
        before gate.json is written; must not fail. `on_unsaved`: told why it could not be."""
        self._keep_copy = keep_copy
        self._on_unsaved = on_unsaved
        self._path = state_directory / FILE_NAME
        self._cells = cells
        self._coordinator = coordinator
        if not cells[shared_page.REMEMBERED_EPOCH]:
            cells[shared_page.REMEMBERED_EPOCH] = epoch + 1
        self.superseded = ""
        """Why nothing may be read or written any more: somebody else has the volume."""
        if cells[shared_page.SUPERSEDED]:
            self.superseded = "somebody else has the volume, as a worker before was told"
        self.unsaved = ""
        """Why gate.json could not be written, while it is behind the legs."""
        self._lock = threading.Lock()
        self._asking = False
        self.owner = f"{platform.node()} {boot_id()} {shared_page.gate_token(cells):x}"
        """Whoever asked, or wrote a superblock, with this was a worker of this gate since its
        start."""

    @property
    def arbitrates(self) -> bool:
        """Whether somebody else may have got the volume meanwhile."""
        return self._coordinator.arbitrates

    @property
    def remembered_epoch(self) -> int:
        """The epoch that was remembered last, by any worker of this gate."""
        return self._cells[shared_page.REMEMBERED_EPOCH] - 1

    def is_behind(self, epoch: int) -> bool:
        """Whether nothing that needs that epoch may be answered yet."""
        return self.arbitrates and self.remembered_epoch < epoch

    def remember(
        self, hand: Hand, configuration: GateConfiguration, on_superseded: Callable[[str], None]
    ) -> bool:
        """Have gate.json replaced; whether requests that need that epoch may be answered now.

        The caller makes sure that nobody else calls this at the same time, except a thread that was
        given up: as long as that one hangs, nothing is written. `on_superseded` is told of a
        refusal, even if the hand was given up meanwhile. Blocks as the coordinator does; raises
        GivenUp.
        """
        if self.superseded:
            return False
        self._keep_copy(configuration)
        if not self._begin():
            return not self.arbitrates
        hand.enter(STATE)
        try:
            problem = self._ask(configuration, on_superseded)
        finally:
            self._asking = False
        hand.leave()
        if self.superseded:
            return False
        first, self.unsaved = problem and not self.unsaved, problem
        if first:
            self._on_unsaved(problem)
        return not problem or not self.arbitrates

    def save_soon(self, reason: str) -> None:
        """gate.json is not what the gate goes on with: that is told, and mended soon."""
        self.unsaved = reason
        self._on_unsaved(reason)

    def _begin(self) -> bool:
        """Whether nobody is asking."""
        with self._lock:
            if self._asking:
                self.unsaved = self.unsaved or _HANGS
                return False
            self._asking = True
            return True

    def _ask(self, configuration: GateConfiguration, on_superseded: Callable[[str], None]) -> str:
        """Why it could not be remembered, empty when it was; a refusal counts at once, also for one
        that was given up meanwhile."""
        text = text_of(configuration)
        try:
            self._coordinator.remember(
                self._path, self.remembered_epoch, configuration.epoch, self.owner, text
            )
        except OSError as error:
            return error.strerror or str(error)
        except Superseded as error:
            self._cells[shared_page.SUPERSEDED] = 1
            self.superseded = error.message
            shared_page.renew_plan(self._cells)
            on_superseded(error.message)
            return ""
        self._cells[shared_page.REMEMBERED_EPOCH] = configuration.epoch + 1
        return ""
