"""The process that freezes, looks for newcomers, and thaws at the deadline, whoever else has died.

It belongs to nobody: a session and a control group of its own. It is two processes: the watchdog
works, its guard waits for its death and then takes its place, with a guard of its own; a watchdog
that is stopped is killed by its guard when the deadline has passed. Only the death of both at once
leaves processes frozen, until `thaw` or `recover` undoes what the record says. Must never load
anything that it does not need: it runs while storage is away.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from holdfast.applications.freezers import FREEZERS, Process
from holdfast.applications.freezers.protocol import Note, State
from holdfast.applications.freezers.record import Batch, FreezeRecord, RecordFile
from holdfast.applications.freezers.servers import Protection, Servers
from holdfast.applications.freezers.undo import finish, processes_of
from holdfast.applications.users import busy_processes
from holdfast.errors import HoldfastError
from holdfast.model.finding import Verdict
from holdfast.system.processes.process_state import read_state
from holdfast.system.resources.memory import lock_all_memory, never_kill_for_memory
from holdfast.system.resources.own_group import move_to_own_group, remove_group

OWN_GROUP = ".freezes"
"""In holdfast/ at the top of the control groups; no volume's name begins with a dot."""

LOOK_SECONDS = 0.05
"""How soon a newcomer is found where looking is cheap."""

SHARE = 5
"""Where looking is expensive it takes at most one part in so many of a processor."""

WAIT_SECONDS = 2.0
"""A process in state D is not waited for any longer: it is frozen when it returns."""

GRACE_SECONDS = 0.5
"""How long after the deadline a watchdog that has not thawed counts as stopped. One that begins
later has it from then on, and twice the time of the one before: that one was slow, perhaps."""

_ROUNDS = 10
"""Processes that fork while they are frozen are looked for again at once, so often."""


class FreezeWatchdog:
    """One freeze. `answer`: where the command waits for word; `lock`: kept by being open."""

    def __init__(self, file: RecordFile, record: FreezeRecord, answer: int, lock: int) -> None:
        self._file = file
        self._record = record
        self._answer = answer
        self._lock = lock
        self._thaw_wanted = False
        self._grace_seconds = GRACE_SECONDS
        self._guard: tuple[int, int] | None = None
        self._given_up: set[tuple[int, int]] = set()
        servers = Servers(frozenset(record.connections), frozenset(record.server_pids))
        self._protection = Protection(servers, frozenset(record.spared))
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_terminate)

    def _on_terminate(self, number: int, frame: FrameType | None) -> None:
        self._thaw_wanted = True

    def run(self) -> NoReturn:
        """Work until everybody is thawed, then end this process. Never returns, never raises."""
        self._prepare()
        try:
            if not self._record.answered:
                self._begin()
        except Exception as error:
            self._end(f"not frozen: {error}", error)
        while not self._is_over():
            began = time.monotonic()
            try:
                self._look()
            except Exception as error:  # whatever it is: the deadline counts
                self._complain(f"{type(error).__name__}: {error}")
            self._sleep(max(LOOK_SECONDS, (SHARE - 1) * (time.monotonic() - began)))
        self._end("thawed" if self._thaw_wanted else "thawed at the deadline")

    # Being two

    def _prepare(self) -> None:
        self._wake, wake_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        for discipline in (never_kill_for_memory, lock_all_memory):
            with suppress(OSError):
                discipline()
        move_to_own_group(os.getpid(), OWN_GROUP)
        self._start_guard()

    def _start_guard(self) -> None:
        """Fork the process that takes this one's place; in the child this never returns."""
        watched = os.pidfd_open(os.getpid())
        pid = os.fork()
        if pid == 0:
            self._stand_guard(watched)
        os.close(watched)
        self._guard = (pid, os.pidfd_open(pid))
        me, other = read_state(os.getpid()), read_state(pid)
        self._record.keepers = [[each.pid, each.start_time] for each in (me, other) if each]
        self._file.save(self._record)

    def _stand_guard(self, watched: int) -> NoReturn:
        """Wait for the watchdog's end; take its place when it left the record behind."""
        try:
            signal.set_wakeup_fd(-1)
            poller = select.poll()
            poller.register(watched, select.POLLIN)
            patience_seconds = max(0.0, self._remaining_seconds()) + self._grace_seconds
            if not poller.poll(int(patience_seconds * 1000) + 1):
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(watched, signal.SIGKILL)
                poller.poll()
            record = self._file.load()
            if record is None or record.id != self._record.id:
                os._exit(0)
            successor = FreezeWatchdog(self._file, record, self._answer, self._lock)
            successor._thaw_wanted = self._thaw_wanted
            successor._grace_seconds = 2 * self._grace_seconds
            successor.run()
        finally:
            os._exit(1)

    def _sleep(self, seconds: float) -> None:
        """Wait until that time, the deadline, a signal, or the guard's death."""
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        if self._guard is not None:
            poller.register(self._guard[1], select.POLLIN)
        seconds = max(0.0, min(seconds, self._remaining_seconds()))
        for descriptor, _ in poller.poll(int(seconds * 1000) + 1):
            if self._guard is not None and descriptor == self._guard[1]:
                pid, watch = self._guard
                self._guard = None
                os.waitpid(pid, 0)
                os.close(watch)
                self._start_guard()

    def _is_over(self) -> bool:
        return self._thaw_wanted or self._remaining_seconds() <= 0

    def _remaining_seconds(self) -> float:
        return (self._record.deadline_ns - time.monotonic_ns()) / 1e9

    # Freezing

    def _begin(self) -> None:
        """Freeze those who are there, and those who come meanwhile; then tell the command."""
        known = self._known()
        first = [Process(*each) for each in self._record.processes]
        first = [each for each in first if (each.pid, each.start_time) not in known]
        if first or self._record.freezer == "hold":
            self._freeze(first)
        for _ in range(_ROUNDS):
            if self._is_over() or not self._look():
                break
        self._record.answered = True
        self._file.save(self._record)
        self._tell("")

    def _look(self) -> bool:
        """Freeze newcomers and those whom somebody woke; whether there were any."""
        if self._record.freezer == "hold":
            return False  # their requests are withheld as everybody's
        woken: set[int] = set()
        for batch in self._record.batches:
            woken.update(FREEZERS[batch.freezer](self._record.occasion).insist(batch.state))
        known = self._known()
        skip = {pid for pid, _ in known} - woken | {pid for pid, _ in self._record.keepers}
        found = []
        for pid in busy_processes(self._record.mount_points, skip):
            state = read_state(pid)
            if state is None or self._protection.reason(pid):
                continue
            if (pid, state.start_time) in self._given_up:
                continue
            if (pid, state.start_time) not in known or pid in woken:
                found.append(Process(pid, state.start_time, state.name))
        for process in found:
            if not self._is_over():
                self._freeze_newcomer(process)
        return bool(found)

    def _known(self) -> set[tuple[int, int]]:
        """Every process that is in a batch, also one that stood still already."""
        known = set()
        for batch in self._record.batches:
            for pid, start_time, _ in batch.state["processes"] + batch.state.get("left", []):
                known.add((pid, start_time))
        return known

    def _freeze(self, processes: list[Process], freezer: str = "") -> None:
        """Freeze one batch. Raises what the freezer raises; then the record has what was begun."""
        name = freezer or self._record.freezer
        batch = Batch(name, time.monotonic_ns(), {"processes": [], "left": []})
        wait_seconds = max(0.0, min(WAIT_SECONDS, self._remaining_seconds()))
        way = FREEZERS[name](self._record.occasion)
        batch.state = way.freeze(processes, self._note_into(batch), wait_seconds)
        batch.done = True
        self._file.save(self._record)

    def _note_into(self, batch: Batch) -> Note:
        def note(state: State) -> None:
            batch.state = json.loads(json.dumps(state))
            if all(each is not batch for each in self._record.batches):
                self._record.batches.append(batch)
            self._file.save(self._record)

        return note

    def _freeze_newcomer(self, process: Process) -> None:
        """Freeze a newcomer as the others, or by a signal; one that resists is reported once."""
        trouble = ""
        for name in dict.fromkeys((self._record.freezer, "signal")):
            against = [
                finding.found
                for finding in FREEZERS[name](self._record.occasion).can([process])
                if finding.verdict is Verdict.BLOCKS
            ]
            if against:
                trouble = against[0]
                continue
            try:
                self._freeze([process], name)
                return
            except (HoldfastError, OSError) as error:
                trouble = str(error)
        self._given_up.add((process.pid, process.start_time))
        self._complain(f"{process} came later and was not frozen: {trouble}")

    # Telling

    def _awake(self) -> list[int]:
        found: list[int] = []
        for batch in self._record.batches:
            with suppress(OSError, HoldfastError):
                found += FREEZERS[batch.freezer](self._record.occasion).awake(batch.state)
        return sorted(set(found))

    def _tell(self, trouble: str, error: Exception | None = None) -> None:
        """Answer the command, which may be gone."""
        words = {
            "trouble": trouble,
            "code": getattr(error, "code", ""),
            "mend": getattr(error, "mend", ""),
            "deadline": time.time() + self._remaining_seconds(),
            "awake": [] if trouble else self._awake(),
            "processes": [] if trouble else processes_of(self._record, time.monotonic_ns()),
            "left": [
                process for batch in self._record.batches for process in batch.state.get("left", [])
            ],
        }
        with suppress(OSError):
            os.write(self._answer, json.dumps(words).encode() + b"\n")

    def _complain(self, words: str) -> None:
        """Keep words for the receipt, once."""
        if words not in self._record.failed:
            self._record.failed.append(words)
            with suppress(OSError):
                self._file.save(self._record)

    def _end(self, outcome: str, error: Exception | None = None) -> NoReturn:
        """Thaw everybody and end; the guard sees that the record is gone, and ends as well."""
        try:
            finish(self._file, self._record, outcome)
            if error is not None:
                self._tell(str(error), error)
            remove_group(OWN_GROUP)
        finally:
            os._exit(0)


def main(record_path: Path, answer: int, lock: int) -> NoReturn:
    """Be the watchdog of the record at that path."""
    file = RecordFile(record_path.parent.parent, record_path.name.removesuffix(".json"))
    record = file.load()
    if record is None:
        os._exit(1)
    record.deadline_ns = time.monotonic_ns() + int(record.seconds * 1e9)
    for descriptor in (answer, lock):
        os.set_inheritable(descriptor, False)
    FreezeWatchdog(file, record, answer, lock).run()
