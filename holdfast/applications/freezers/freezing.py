"""Beginning and ending a freeze: what a command does, and what `recover` does for a dead one.

Whoever calls `begin` does not freeze: it starts the watchdog and waits for its word, so its own
death changes nothing. Invariant: when `begin` raises, nobody is frozen. Must never leave a record
behind that names nobody.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.applications.freezers.policy import FreezePlan
from holdfast.applications.freezers.record import FreezeRecord, RecordFile
from holdfast.applications.freezers.servers import Protection
from holdfast.applications.freezers.undo import finish
from holdfast.error_codes import by_code
from holdfast.errors import (
    AlreadyFrozen,
    CannotFreeze,
    DeadlinePassed,
    HoldfastError,
    NewerVersion,
    NotFrozen,
)
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import NewerFormat
from holdfast.model.mountpoint import MountPoint
from holdfast.model.receipt import Receipt
from holdfast.model.recovery import Left
from holdfast.system.mounts.mount_table import is_under
from holdfast.system.processes.process_state import open_process

if TYPE_CHECKING:
    from holdfast.config import Settings

START_SECONDS = 30.0
"""A watchdog starts within a second; a loaded host may take longer."""

END_SECONDS = 10.0
"""A watchdog thaws within milliseconds of being asked; one that does not is stopped or hangs."""

_LATE_SECONDS = 2.0
"""So long after the deadline neither watchdog nor guard can be at work."""

_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Frozen:
    """What a freeze has done so far."""

    volume: str
    id: str
    freezer: str
    deadline: float
    """Unix time at which everybody is thawed."""
    processes: tuple[dict[str, Any], ...]
    """pid, name, frozen_ms up to now, by; memory for page-out."""
    awake: tuple[int, ...] = ()
    """Processes that wait inside the kernel and are frozen when they return."""
    left: tuple[int, ...] = ()
    """Processes that stood still already; they stay as they are."""


def begin(
    directories: tuple[Path, Path],
    plan: FreezePlan,
    mounts: Sequence[MountPoint],
    protection: Protection,
    seconds: float,
    *,
    gate_run_directory: Path | None = None,
    cause: str = "asked for by the administrator",
) -> Frozen:
    """Freeze; everybody who does not wait inside the kernel stands still on return.

    `directories`: state and run directory; neither may lie on the volume. Blocks some hundred
    milliseconds; 2 s more when somebody does not stop. Raises AlreadyFrozen, CannotFreeze,
    DeadlinePassed, and what the freezer raises: then nobody is frozen.
    """
    state_directory, run_directory = directories
    _check_place(directories, plan.volume, mounts)
    file = RecordFile(run_directory, plan.volume)
    lock = file.lock()
    if lock is None:
        raise AlreadyFrozen(f"{plan.volume} is frozen already", f"holdfast thaw {plan.volume}")
    try:
        left_over = _load(file)
        if left_over is not None:
            finish(file, left_over, "thawed: its watchdog was dead")
        record = _new_record(plan, mounts, protection, seconds, cause, spool_of(state_directory))
        record.gate_run_directory = str(gate_run_directory or "")
        file.save(record)
        try:
            answer = _start(file, lock)
        except BaseException:
            os.close(lock)  # what is left of it belongs to the watchdog
            lock = None
            _end(file, record)
            raise
    finally:
        if lock is not None:
            os.close(lock)
    return _frozen(record, answer)


def _new_record(
    plan: FreezePlan,
    mounts: Sequence[MountPoint],
    protection: Protection,
    seconds: float,
    cause: str,
    spool: Path,
) -> FreezeRecord:
    """A record of a freeze that has frozen nobody yet; its deadline counts from now on."""
    now_ns = time.monotonic_ns()
    return FreezeRecord(
        id=uuid.uuid4().hex,
        volume=plan.volume,
        freezer=plan.freezer,
        seconds=seconds,
        deadline_ns=now_ns + int(seconds * 1e9),
        started=time.time(),
        started_ns=now_ns,
        started_ticks=_now_ticks(),
        cause=cause,
        spool=str(spool),
        processes=[process.as_json() for process in plan.processes],
        mounts=[asdict(point) for point in mounts],
        spared=sorted(protection.spared),
        connections=sorted(protection.servers.connections),
        server_pids=sorted(protection.servers.pids),
    )


def _frozen(record: FreezeRecord, answer: dict[str, Any]) -> Frozen:
    """What the watchdog's word says."""
    return Frozen(
        volume=record.volume,
        id=record.id,
        freezer=record.freezer,
        deadline=float(answer["deadline"]),
        processes=tuple(answer["processes"]),
        awake=tuple(answer["awake"]),
        left=tuple(process[0] for process in answer["left"]),
    )


def end(run_directory: Path, volume: str) -> Receipt | None:
    """Thaw everybody; the receipt when it was us who had to do it, None when the watchdog did.

    Waits until it is done; never for another command. Raises NotFrozen, DeadlinePassed.
    """
    file = RecordFile(run_directory, volume)
    record = _load(file)
    if record is None:
        raise NotFrozen(f"{volume} is not frozen", f"holdfast freeze {volume}")
    return _end(file, record)


def frozen(run_directory: Path, volume: str) -> FreezeRecord | None:
    """The record of the freeze that is on, or None. Does not block."""
    return _load(RecordFile(run_directory, volume))


def recover_freezes(settings: Settings) -> list[str]:
    """Thaw whoever a dead or hung watchdog left frozen; what was done, in words. Idempotent.

    A freeze whose watchdog lives and whose deadline has not passed is left alone.
    """
    done: list[str] = []
    run_directory = settings.run_directory
    for path in sorted((run_directory / "freezes").glob("*.json")):
        file = RecordFile(run_directory, path.stem)
        try:
            record = _load(file)
            if record is None:
                continue
            lock = file.lock()
            if lock is not None:
                os.close(lock)
            elif not _is_forsaken(record):
                continue
            receipt = _end(file, record)
        except HoldfastError as error:
            done.append(Left(f"the freeze of {file.volume} was left as it is: {error}"))
            continue
        if receipt is not None and record.of_this_boot:
            count = len(receipt.processes)
            words = f"thawed {count} process{'' if count == 1 else 'es'} of {file.volume}"
            done.append(f"{words}, whose watchdog was dead")
    return done


def spool_of(state_directory: Path) -> Path:
    """The folder that takes receipts of freezes, of all volumes, until the catalog has them."""
    return state_directory / "freezes" / "spool"


def _start(file: RecordFile, lock: int) -> dict[str, Any]:
    """Start the watchdog with its share of the lock, and wait for its word.

    Raises what it says went wrong.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        with open(file.log_path, "ab") as log:
            arguments = [sys.executable, "-m", "holdfast.applications.freezers"]
            process = subprocess.Popen(
                [*arguments, str(file.path), str(writing), str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                pass_fds=(writing, lock),
            )
        os.close(writing)
        process.wait()  # it forks at once and leaves
        answer = _answer(reading, file)
    finally:
        os.close(reading)
    if answer["trouble"]:
        error = by_code(answer["code"]) or CannotFreeze
        raise error(answer["trouble"], answer["mend"] or "Nobody is frozen.")
    return answer


def _answer(reading: int, file: RecordFile) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    data = b""
    poller = select.poll()
    poller.register(reading, select.POLLIN)
    while not data.endswith(b"\n"):
        remaining_seconds = deadline - time.monotonic()
        if remaining_seconds <= 0 or not poller.poll(int(remaining_seconds * 1000) + 1):
            raise DeadlinePassed(
                f"the watchdog of {file.volume} did not answer within {START_SECONDS:g} s",
                "Nobody is frozen; try again when the host is less loaded.",
            )
        more = os.read(reading, 1 << 16)
        if not more:
            raise CannotFreeze(
                f"the watchdog of {file.volume} ended before it had frozen anybody{_log(file)}",
                "Nobody is frozen; try again.",
            )
        data += more
    return dict(json.loads(data))


def _log(file: RecordFile) -> str:
    """The last line that the watchdog wrote before it died, if any."""
    with suppress(OSError):
        lines = file.log_path.read_text(errors="replace").split("\n")
        words = [line for line in lines if line.strip()]
        return f": {words[-1]}" if words else ""
    return ""


def _end(file: RecordFile, record: FreezeRecord) -> Receipt | None:
    """Have the watchdog thaw; do it here when it is dead, or kill it when it hangs."""
    deadline = time.monotonic() + END_SECONDS
    while True:
        now = file.load()
        if now is not None and now.id == record.id:
            record = now
            _signal(record, signal.SIGTERM)
        elif now is not None:
            return None  # somebody else has frozen since
        lock = file.lock()
        if lock is not None:
            try:
                return _finish(file, record)
            finally:
                os.close(lock)
        if time.monotonic() > deadline:
            break
        _wait_for_end(record)
    return _take_over(file, record)


def _take_over(file: RecordFile, record: FreezeRecord) -> Receipt | None:
    """The watchdog does not end: kill both of it, then thaw.

    The lock may still be taken then: by a child of it that hangs inside the kernel.
    """
    _signal(record, signal.SIGKILL)
    deadline = time.monotonic() + END_SECONDS
    while _alive(record):
        if time.monotonic() > deadline:
            raise DeadlinePassed(
                f"the watchdog of {record.volume} does not end",
                "It hangs inside the kernel; try again when storage answers.",
            )
        time.sleep(_POLL_SECONDS)
        now = file.load()
        if now is not None and now.id == record.id:
            record = now
        _signal(record, signal.SIGKILL)
    return _finish(file, record)


def _finish(file: RecordFile, record: FreezeRecord) -> Receipt | None:
    now = _load(file)
    if now is None or now.id != record.id:
        return None
    return finish(file, now, "thawed: its watchdog was dead")


def _signal(record: FreezeRecord, number: signal.Signals) -> None:
    """Signal the watchdog first, then its guard: one that takes over has had the signal as well."""
    for pid, start_time in record.keepers:
        descriptor = open_process(pid, start_time)
        if descriptor is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            os.close(descriptor)


def _alive(record: FreezeRecord) -> bool:
    for pid, start_time in record.keepers:
        descriptor = open_process(pid, start_time)
        if descriptor is not None:
            os.close(descriptor)
            return True
    return False


def _is_forsaken(record: FreezeRecord) -> bool:
    """Whether somebody else than a working watchdog has the lock: children of one that died have it
    a moment longer. Without keepers the freeze is being begun."""
    if record.keepers and not _alive(record):
        return True
    return time.monotonic_ns() >= record.deadline_ns + _LATE_SECONDS * 1e9


def _wait_for_end(record: FreezeRecord) -> None:
    """Wait until the watchdog or its guard ends, or for a moment."""
    poller = select.poll()
    watched = [open_process(pid, start_time) for pid, start_time in record.keepers]
    descriptors = [each for each in watched if each is not None]
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    poller.poll(int(_POLL_SECONDS * 1000))
    for descriptor in descriptors:
        os.close(descriptor)


def _load(file: RecordFile) -> FreezeRecord | None:
    try:
        return file.load()
    except NewerFormat as error:
        raise NewerVersion(
            str(error.strerror),
            f"Use that version: holdfast thaw {file.volume}. Its watchdog thaws at the deadline.",
        ) from error
    except ValueError as error:
        raise CannotFreeze(
            f"the record of a freeze cannot be read: {error}",
            "Look at it, continue the processes it names, then remove it.",
        ) from error


def _check_place(directories: tuple[Path, Path], volume: str, mounts: Sequence[MountPoint]) -> None:
    for folder in directories:
        for point in mounts:
            if point.path != "/" and is_under(os.path.abspath(folder), point.path):  # noqa: PTH100
                raise CannotFreeze(
                    f"{folder}, where Holdfast keeps its records, lies on {volume} itself",
                    "Move it with HOLDFAST_HOME to other storage.",
                )


def _now_ticks() -> int:
    """Now, as start times count: clock ticks after boot."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
