"""The administrator's hold: begun and ended on command, with one receipt for all of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from holdfast.gate.data.hold import Hold
from holdfast.gate.runtime.incidents import Incident, Incidents

DRAIN_SECONDS = 10.0
"""How long `begin` waits for requests that are under way: storage that hangs ends none."""

REST_SECONDS = 2.0
"""How long `at_rest` waits for the same, while everybody else waits."""

_POLL_SECONDS = 0.001

Found = TypeVar("Found")


class AdministrativeHold:
    """The hold of one worker. `idle`: whether no request is under way; `wake` has the main loop
    look."""

    def __init__(
        self,
        hold: Hold,
        incidents: Incidents,
        idle: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._hold = hold
        self._incidents = incidents
        self._idle = idle
        self._wake = wake
        self._incident: Incident | None = None

    def begin(self, seconds: float | None, reason: str) -> None:
        """Withhold requests, for at most that long; renews a hold that is on.

        Returns when no request is under way any more, or DRAIN_SECONDS later.
        """
        self._hold.begin(seconds, reason or "held by an administrator")
        if self._incident is None:
            self._incident = self._incidents.begin("hold", reason or "by an administrator")
            self._incident.manual = True
        self._wake()
        deadline = monotonic() + DRAIN_SECONDS
        pause = threading.Event()
        while monotonic() < deadline and not self._idle():
            pause.wait(_POLL_SECONDS)

    def end(self) -> None:
        """Let requests go on. Does nothing where they were not held."""
        if self._hold.release():
            self.ended("released")
        self._wake()

    def at_rest(self, look: Callable[[], Found]) -> Found | None:
        """What `look` finds while no request is under way: they are withheld for as long.

        None: some are for longer than REST_SECONDS, or somebody ended the hold meanwhile.
        """
        hold, began = self._hold, not self._hold.administrative
        if began:
            hold.begin(2 * REST_SECONDS, "a moment without requests")
            self._wake()
        until_ns, deadline = hold.administrative_deadline_ns, monotonic() + REST_SECONDS
        try:
            pause = threading.Event()
            while not self._idle():
                if monotonic() > deadline:
                    return None
                pause.wait(_POLL_SECONDS)
            found = look()
            is_same = hold.administrative and hold.administrative_deadline_ns == until_ns
            return found if is_same else None
        finally:
            if began and self._incident is None:
                hold.release()
                self._wake()

    def ended(self, outcome: str) -> None:
        """The hold is over, be it by its deadline: its receipt can be written."""
        incident, self._incident = self._incident, None
        if incident is not None:
            incident.step("released", outcome)
            incident.resolve(outcome)
