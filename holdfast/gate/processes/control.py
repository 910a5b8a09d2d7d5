"""The gate's control socket: one request and one reply per connection, as lines of JSON.

Root only: the socket lies in a directory of root's, and the kernel is asked who connects. A command
that is cut off because the worker was killed can be sent again; every verb is idempotent or says
that it is done.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import asdict
from time import monotonic, monotonic_ns, time
from typing import Any

from holdfast.errors import HoldfastError, InUse, InvalidOption, MissingRights
from holdfast.gate.data.compiled import COMPILED
from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.task import LegTask
from holdfast.gate.front import FrontEnd
from holdfast.gate.front.serving import Server
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.processes.request import parse, read_line
from holdfast.gate.repair.changes import Changes
from holdfast.gate.repair.drill import FAULTS, DrilledDevice
from holdfast.gate.repair.names import Names
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import GivenUp, Hand
from holdfast.gate.runtime.incidents import Incident
from holdfast.gate.runtime.shared_page import count
from holdfast.model.version import VERSION
from holdfast.model.volume import LegState
from holdfast.system.resources.memory import is_io_flusher, resident_bytes

CONVERSATIONS = 16
"""Connections served at once. Each has a hand, of which the serving threads need some as well."""

PAUSE_SECONDS = 0.1
"""When this process has no room for another connection."""

REPLY_SECONDS = 5.0
DRAIN_SECONDS = 10.0
_HANGS = {
    "ok": False,
    "code": "TIMEOUT",
    "message": "the storage does not answer",
    "mend": "See why it hangs.",
}
"""The reply when the hand that would make it is given up."""

_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7), SO_PEERCRED)


class Control:
    """Verbs of one worker (see request.VERBS). Each connection has a thread, with a hand."""

    def __init__(
        self,
        mirror: Mirror,
        recovery: Recovery,
        changes: Changes,
        names: Names,
        front: FrontEnd,
        server: Server,
    ) -> None:
        self._mirror = mirror
        self._roster = mirror.roster
        self._recovery = recovery
        self._changes = changes
        self._names = names
        self._front = front
        self._server = server
        self._tasks: list[LegTask[None]] = []
        self._unanswered: dict[Hand, socket.socket] = {}
        """Connections by the hand that serves them."""
        self._hold_incident: Incident | None = None
        self._not_before = 0.0

    def has_room(self) -> bool:
        """Whether another connection would be taken now; others wait in the kernel's queue."""
        self._tasks = [task for task in self._tasks if task.is_alive()]
        return len(self._tasks) < CONVERSATIONS and monotonic() >= self._not_before

    def accept(self, listener: socket.socket) -> None:
        """Take the connections that wait, as many as there is room for; never blocks."""
        while self.has_room():
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError:
                self._not_before = monotonic() + PAUSE_SECONDS
                return
            try:
                task = LegTask(
                    self._mirror.hands,
                    lambda hand, connection=connection: self._converse(hand, connection),  # type: ignore[misc]
                    awaited=False,
                )
            except RuntimeError:  # no room for a thread: it may ask again
                connection.close()
                self._not_before = monotonic() + PAUSE_SECONDS
                return
            self._tasks.append(task)

    def finish(self) -> None:
        """Let replies that are under way leave."""
        deadline = monotonic() + 2.0
        for task in self._tasks:
            task.join(max(0.0, deadline - monotonic()))

    def hold_ended(self, outcome: str) -> None:
        """The administrator's hold is over: its receipt can be written."""
        incident, self._hold_incident = self._hold_incident, None
        if incident is not None:
            incident.step("released", outcome)
            incident.resolve(outcome)

    def given_up(self, hand: Hand) -> None:
        """A hand hangs inside storage: whoever asked it for something is told so."""
        connection = self._unanswered.pop(hand, None)
        if connection is not None:
            with suppress(OSError):
                connection.sendall(json.dumps(_HANGS).encode() + b"\n")
                connection.shutdown(socket.SHUT_RDWR)

    def _converse(self, hand: Hand, connection: socket.socket) -> None:
        """Answer one request. What is neither refused nor caused by storage is a defect.

        It is answered, and then left to end the worker: what it left half done in memory is gone.
        """
        with connection:
            self._unanswered[hand] = connection
            reply = _refusal("COMMAND", "the gate met a defect of its own", "See gate.log.")
            try:
                reply = self._answer(hand, connection)
            except GivenUp:  # `given_up` says so, or we do if we are first
                reply = _HANGS
            finally:
                if self._unanswered.pop(hand, None) is not None:
                    with suppress(OSError):  # it does not wait for an answer
                        connection.settimeout(REPLY_SECONDS)
                        connection.sendall(json.dumps(reply).encode() + b"\n")

    def _answer(self, hand: Hand, connection: socket.socket) -> dict[str, Any]:
        try:
            credentials = connection.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
            )
            if _CREDENTIALS.unpack(credentials)[1] != 0:
                raise MissingRights("only root may talk to a gate", "Use root.")
            verb, arguments = parse(read_line(connection))
            return {"ok": True, "result": getattr(self, verb)(hand, **arguments)}
        except HoldfastError as error:
            return _refusal(error.code, error.message, error.mend)
        except HoldExpired:
            return _refusal("NOSOURCE", "no leg is left, past the deadline", "Bring one back.")
        except TimeoutError as error:
            return _refusal("TIMEOUT", str(error), "")
        except OSError as error:
            return _refusal("IO", str(error), "See the kernel's log for the storage below.")

    # --- verbs ------------------------------------------------------------------------------

    def show(self, hand: Hand) -> dict[str, Any]:
        """Everything about the gate."""
        mirror, roster = self._mirror, self._roster
        counters = count(mirror.cells)
        configuration = roster.configuration
        deadline = mirror.hold.deadline_ns
        journal_state = "off"
        if configuration.journal != "none":
            journal_state = "active" if mirror.log.active else "degraded"
        return {
            "name": configuration.name,
            "version": VERSION,
            "compiled": COMPILED is not None,
            "keeper_pid": counters.keeper_pid,
            "worker_pid": counters.worker_pid,
            "held": counters.held,
            "hold_expired": mirror.hold.expired,
            "hold_reason": mirror.hold.reason or mirror.hold.administrative_reason,
            "hold_deadline": time() + (deadline - monotonic_ns()) / 1e9 if deadline else None,
            "in_flight": counters.in_flight,
            "takeovers": counters.takeovers,
            "keeper_takeovers": counters.keeper_takeovers,
            "errors_returned": counters.errors_returned,
            "late_replies": counters.late_replies,
            "resent": counters.resent,
            "longest_wait_ms": round(counters.longest_wait_ms, 3),
            "requests": {
                "read": counters.reads,
                "write": counters.writes,
                "flush": counters.flushes,
                "discard": counters.discards,
            },
            "journal": {
                "mode": str(configuration.journal),
                "state": journal_state,
                "bytes": mirror.log.used_bytes,
                "position": mirror.log.position,
            },
            "resident_bytes": resident_bytes(os.getpid()),
            "io_flusher": is_io_flusher(),
            "epoch": configuration.epoch,
            "unsaved": mirror.memory.unsaved,
            "size_bytes": configuration.size_bytes,
            "legs": [self._leg(entry) for entry in configuration.legs],
            "spares": list(configuration.spare_urls),
            "nameless": sorted(roster.nameless),
        }

    def look(self, hand: Hand) -> dict[str, Any]:
        """Everything about the gate, after another look at the names of its legs."""
        self._names.look_again(2 * self._roster.configuration.hang_timeout_seconds)
        return self.show(hand)

    def describe(self, hand: Hand) -> dict[str, Any]:
        """What gate.json says, for a catalog that was lost."""
        return asdict(self._roster.configuration)

    def _leg_of(self, number: int) -> dict[str, Any]:
        """Raises NoSuchLeg when it has left meanwhile."""
        return self._leg(self._changes.find(str(number)))

    def _leg(self, entry: LegEntry) -> dict[str, Any]:
        number, roster = entry.number, self._roster
        resync = self._recovery.resyncs.get(number)
        state = entry.state
        reason = entry.reason
        if number not in roster.present and (
            state is LegState.IN_SYNC or (state is LegState.RESYNCING and reason)
        ):
            # Away: the last one, or one that a takeover did not find. One to be filled that nobody
            # has looked at yet is none of these: the next probe says what it is.
            state = LegState.FAILED
        if state is LegState.IN_SYNC:
            reason = self._mirror.owed.words or reason
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
        }

    def hold(self, hand: Hand, seconds: float | None = None, reason: str = "") -> dict[str, Any]:
        """Withhold requests; returns when none is under way any more."""
        self._mirror.hold.begin(seconds, reason or "held by an administrator")
        if self._hold_incident is None:
            self._hold_incident = self._mirror.incidents.begin(
                "hold", reason or "by an administrator"
            )
            self._hold_incident.manual = True
        self._mirror.wake()
        deadline = monotonic() + DRAIN_SECONDS
        pause = threading.Event()
        while monotonic() < deadline:
            if self._server.idle():
                break
            pause.wait(0.001)
        return self.show(hand)

    def release(self, hand: Hand) -> dict[str, Any]:
        """End the administrator's hold."""
        if self._mirror.hold.release():
            self.hold_ended("released")
        self._mirror.wake()
        return self.show(hand)

    def add_leg(self, hand: Hand, url: str, spare: bool = False) -> dict[str, Any]:
        """Add a leg, or a spare."""
        if spare:
            self._changes.add_spare(hand, url)
            return self.show(hand)
        return self._leg_of(self._changes.add(hand, url))

    def remove_leg(self, hand: Hand, leg: str) -> dict[str, Any]:
        """Take a leg, or a spare, out of the volume."""
        if not self._changes.remove_spare(hand, leg):
            self._changes.remove(hand, leg)
        return self.show(hand)

    def replace_leg(self, hand: Hand, leg: str, url: str) -> dict[str, Any]:
        """Put a container in a leg's place, once it is in sync."""
        return self._leg_of(self._changes.replace(hand, leg, url))

    def resize(self, hand: Hand, size_bytes: int) -> dict[str, Any]:
        """Grow the volume's legs and the device."""
        self._changes.resize(hand, size_bytes)
        self._front.resized()
        return self.show(hand)

    def configure(
        self,
        hand: Hand,
        descriptor: dict[str, Any] | None = None,
        hold_timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Change what superblocks say of the volume, or the deadline of later holds. Durable."""
        mirror = self._mirror
        with hand.holding(self._recovery.changing):
            changes: dict[str, Any] = {}
            if descriptor is not None:
                changes["descriptor"] = descriptor
            if hold_timeout_seconds is not None:
                changes["hold_timeout_seconds"] = hold_timeout_seconds
            mirror.roster.configure_as_told(**changes)
            try:
                mirror.settling.settle_or_raise(hand)
            finally:  # it may have been taken back
                seconds = mirror.roster.configuration.hold_timeout_seconds
                mirror.hold.set_timeout(seconds)
                mirror.cells[shared_page.HOLD_TIMEOUT] = int(seconds * 1e9)
        return self.show(hand)

    def fault(
        self, hand: Hand, kind: str, leg: str | None = None, seconds: float = 10.0
    ) -> dict[str, Any]:
        """Rehearse a fault of a leg; it ends by itself after that time."""
        if kind not in FAULTS:
            raise InvalidOption(f"{kind!r} is no fault of a leg", f"Use {', '.join(FAULTS)}.")
        readers = self._roster.readers
        if leg is None and not readers:
            raise InvalidOption("no leg is in sync: there is nothing to rehearse")
        number = self._changes.find(leg).number if leg else readers[0].number
        self._recovery.drills.start(number, seconds)
        self._roster.filter(number, lambda device: DrilledDevice(device, kind, seconds))
        return self._leg_of(number)

    def stop(self, hand: Hand) -> dict[str, Any]:
        """Unmount the device; the gate ends when nothing uses it any more. Raises InUse."""
        answer = {
            "keeper_pid": self._mirror.cells[shared_page.KEEPER_PID],
            "worker_pid": os.getpid(),
        }
        try:
            self._front.close()
        except OSError as error:
            raise InUse(
                f"the gate's device is in use: {error.strerror}",
                "Dismount the file system, detach the loop device, and let whoever reads the device"
                " file itself finish (fuser -v names them).",
            ) from error
        return answer


def _refusal(code: str, message: str, mend: str) -> dict[str, Any]:
    return {"ok": False, "code": code, "message": message, "mend": mend}
