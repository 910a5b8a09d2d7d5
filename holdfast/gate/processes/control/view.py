"""What a gate shows of itself. Must never touch storage, wait for anybody, or change anything."""

from __future__ import annotations

import os
from collections.abc import Mapping
from time import monotonic_ns, time
from typing import Any

from holdfast.gate.data.compiled import COMPILED
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.members.configuration import LegEntry, as_json
from holdfast.gate.repair.resync import Resync
from holdfast.gate.runtime.shared_page import KEEPER_PID, announced_standby, count
from holdfast.model.version import VERSION
from holdfast.model.volume import LegState
from holdfast.system.resources.memory import is_io_flusher, resident_bytes


class GateView:
    """One worker's gate, as values that become JSON."""

    def __init__(self, mirror: Mirror, resyncs: Mapping[int, Resync]) -> None:
        """`resyncs`: those under way, by the number of the leg that is filled."""
        self._cells = mirror.cells
        self._roster = mirror.roster
        self._hold = mirror.hold
        self._journalling = mirror.journalling
        self._owed = mirror.owed
        self._times = mirror.times
        self._resyncs = resyncs

    def _standby_bytes(self) -> int:
        pid, _ = announced_standby(self._cells)
        return resident_bytes(pid) if pid else 0

    def everything(self) -> dict[str, Any]:
        """All that `volume show` has from the gate."""
        roster, hold, log = self._roster, self._hold, self._journalling.log
        counters = count(self._cells)
        configuration = roster.configuration
        deadline = hold.deadline_ns
        journal_state = "off"
        if configuration.journal != "none":
            journal_state = "active" if log.active else "degraded"
        return {
            "name": configuration.name,
            "version": VERSION,
            "compiled": COMPILED is not None,
            **self.processes(),
            "held": counters.held,
            "hold_expired": hold.expired,
            "hold_reason": hold.reason or hold.administrative_reason,
            "last_hold_reason": hold.last_reason,
            "held_on_purpose": hold.administrative and not hold.reason,
            "hold_deadline": time() + (deadline - monotonic_ns()) / 1e9 if deadline else None,
            "in_flight": counters.in_flight,
            "takeovers": counters.takeovers,
            "keeper_takeovers": counters.keeper_takeovers,
            "errors_returned": counters.errors_returned,
            "late_replies": counters.late_replies,
            "resent": counters.resent,
            "longest_wait_ms": round(counters.longest_wait_ms, 3),
            "read_bytes": counters.read_bytes,
            "written_bytes": counters.written_bytes,
            "served_ms": round(counters.served_ms, 3),
            "requests": {
                "read": counters.reads,
                "write": counters.writes,
                "flush": counters.flushes,
                "discard": counters.discards,
            },
            "journal": {
                "mode": str(configuration.journal),
                "state": journal_state,
                "bytes": log.used_bytes,
                "position": log.position,
                "recorded": configuration.recorded_position,
                **log.shown,
            },
            "resident_bytes": resident_bytes(os.getpid()),
            "standby_bytes": self._standby_bytes(),
            "io_flusher": is_io_flusher(),
            "epoch": configuration.epoch,
            "unsaved": roster.memory.unsaved,
            "size_bytes": configuration.size_bytes,
            "legs": [self.leg(entry) for entry in configuration.legs],
            "spares": list(configuration.spare_urls),
            "nameless": sorted(roster.nameless),
        }

    def processes(self) -> dict[str, int]:
        """Who keeps the gate running: its keeper, and this process."""
        return {"keeper_pid": self._cells[KEEPER_PID], "worker_pid": os.getpid()}

    def configuration(self) -> dict[str, Any]:
        """What gate.json says."""
        return as_json(self._roster.configuration)

    def leg(self, entry: LegEntry) -> dict[str, Any]:
        """A member, in use or not."""
        number, roster = entry.number, self._roster
        resync = self._resyncs.get(number)
        state = entry.state
        reason = entry.reason
        if number not in roster.present and (
            state is LegState.IN_SYNC or (state is LegState.RESYNCING and reason)
        ):
            # Away: the last one, or one that a takeover did not find. One to be filled that nobody
            # has looked at yet is none of these: the next probe says what it is.
            state = LegState.FAILED
        if state is LegState.IN_SYNC:
            reason = self._owed.words or reason
        nameless = roster.nameless.get(number, "")
        if nameless:
            state = LegState.FAILED  # in use, and gone with the gate
        return {
            "number": number,
            "id": entry.id,
            "url": entry.url,
            "state": str(state),
            "resync_percent": round(resync.percent, 1) if resync else None,
            "reason": nameless or reason,
            "times": self._times.of(number),
        }
