"""The gate's shared page: counters and short-lived facts that outlive any one process of the gate.

A file on the run directory's tmpfs, mapped by keeper, worker and anyone who watches. Every field is
one aligned 64-bit cell, so a reader never sees half a number. A thread writes only its own slot;
the head is written by the worker's main thread and the keeper. Durable facts do not belong here:
the page is gone after a reboot.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import threading
import uuid
from pathlib import Path
from typing import Final

from holdfast.late_dataclass import dataclass
from holdfast.system.boot import boot_id

SOCKET_FILE = "control"
"""Beside the page, in the run directory: the control socket."""

DEVICE_FILE = "device"
"""Beside it, too: the regular file on which the gate's file system is mounted."""

FILE_NAME = "counters"
MAGIC = 0x486F6C6466617374  # "Holdfast"
HEAD_CELLS, SLOT_CELLS, SLOTS = 128, 16, 62

# Cells of the head. Times are nanoseconds of CLOCK_MONOTONIC.
MAGIC_CELL: Final = 0
KEEPER_PID: Final = 1
WORKER_PID: Final = 2
GENERATION: Final = 3  # number of the present worker, from 1
KEEPER_GENERATION: Final = 4
ADMINISTRATIVE_HOLD: Final = 5  # 1 while an administrator holds the volume
ADMINISTRATIVE_DEADLINE: Final = 6  # 0: none
STORAGE_HOLD_SINCE: Final = 7  # 0: storage is there
STORAGE_HOLD_DEADLINE: Final = 8
STOPPED: Final = 9  # 1 when the gate ends on purpose: nobody restores anything
WORKER_DIED: Final = 10  # when the keeper noticed the last death
RESYNC_LEG: Final = 11  # leg that gets every region in order since it joined, and the next region
RESYNC_CURSOR: Final = 12
STORAGE_HOLD_SPACE: Final = 13  # 1: held because a leg is full
SERVING: Final = 14  # generation of the last worker that began to serve
KEEPER_BEAT: Final = 15  # when the main loop last came round
WORKER_BEAT: Final = 16
WORKER_END: Final = 17  # how the last worker ended (partner.Ending)
WORKER_SILENT_SINCE: Final = 18  # since when nobody of the pair saw anything before that, 0: not
KEEPER_STARTED: Final = 19  # start time of the process in clock ticks after boot, 0: not known yet
WORKER_STARTED: Final = 20
HANG_TIMEOUT: Final = 21  # nanoseconds
HOLD_TIMEOUT: Final = 22
KEEPER_ERRORS: Final = 23  # requests that the keeper answered with EIO, as no worker could start
UNTOLD_ERRORS: Final = 24  # those of them that no receipt has told yet
END_RECORDED: Final = 25  # 1 when a receipt tells that all processes were killed
BOOT: Final = 26  # the boot to which all times belong, two cells
SOCKET_INODE: Final = 28  # of the control socket that both processes listen at
GATE_TOKEN: Final = 29  # random, of this gate since its start: its superblocks, its device's inode
EQUALISING: Final = 31  # 1 while regions may differ between legs in sync
OWED_SINCE: Final = 30  # journal position from which records are needed for bad places, plus 1

FIRST_CONTAINER: Final = 32  # triples: number of a leg in use, its container's identity, 0
_CONTAINERS: Final = range(FIRST_CONTAINER, 93, 3)

NEXT_KEEPER: Final = 95  # who was started to be keeper, until it is in service; see announce_keeper

FIRST_FAILED: Final = 96  # numbers of legs that failed and were not taken in again
LAST_FAILED: Final = 127

# Cells of a slot.
BUSY_SINCE: Final = 0  # when the request in hand was read, 0: none
LEG: Final = 1  # number of the leg in use, 0: none
LEG_SINCE: Final = 2
READS: Final = 3
WRITES: Final = 4
FLUSHES: Final = 5
DISCARDS: Final = 6
LONGEST_WAIT: Final = 7
ERRORS: Final = 8  # requests answered with an error
READ_BYTES: Final = 9
WRITTEN_BYTES: Final = 10
LATE_REPLIES: Final = 11  # answers that the kernel did not want any more
RESENT: Final = 12  # requests that the kernel had sent before
LOGGED: Final = 13  # position in the log of the write in hand, plus 1; 0: none
SERVED_NS: Final = 14  # time of requests that were answered, from reading to answer
HELPS: Final = 15  # 1: what it has in hand is part of a request that counts in another slot

# Cells behind the slots: the rest of the last page.
RENEWER: Final = HEAD_CELLS + SLOT_CELLS * SLOTS  # who ends the worker on purpose
SUPERSEDED: Final = RENEWER + 1  # 1 when somebody else has the volume: nothing is answered any more
REMEMBERED_EPOCH: Final = RENEWER + 2  # the epoch that the coordinator remembered last, plus 1
UNREMEMBERED: Final = RENEWER + 3  # 1 while held until the coordinator agrees to the legs' epoch
PLAN: Final = RENEWER + 4  # another number whenever compiled code must look at everything anew
WRITTEN: Final = RENEWER + 5  # 1: something was written since the position was recorded last
FLUSHED: Final = RENEWER + 6  # position up to which the legs are durable, as the log counts
OWED_FILE: Final = RENEWER + 7  # 1: there may be a file of what is owed for bad places
STANDBY: Final = RENEWER + 8  # who is prepared to be the next worker; see announce_standby
FLUSHING: Final = RENEWER + 9  # by slot: the leg that its thread flushes, until an error is known
FIRST_UNHEARD: Final = FLUSHING + SLOTS  # legs with a flush of which nobody heard how it ended
LAST_UNHEARD: Final = FIRST_UNHEARD + 31
FIRST_WORKER: Final = LAST_UNHEARD + 1  # pairs: a worker, and its generation; see note_worker
_WORKERS: Final = range(FIRST_WORKER, FIRST_WORKER + 64, 2)
HISTORY_LOST_SINCE: Final = FIRST_WORKER + 64  # 0: the history is written

_PLAN_LOCK = threading.Lock()
_PID_BITS = 22  # PID_MAX_LIMIT, include/linux/threads.h
_BOOT_PAIR = struct.Struct("=QQ")
_CELLS = HISTORY_LOST_SINCE + 1
SIZE_BYTES = (_CELLS * 8 + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE


@dataclass(frozen=True)
class Counters:
    """A consistent enough reading of the shared page: each number is exact, their sum is not."""

    keeper_pid: int
    worker_pid: int
    takeovers: int
    keeper_takeovers: int
    held: bool
    in_flight: int
    reads: int
    writes: int
    flushes: int
    discards: int
    read_bytes: int
    written_bytes: int
    longest_wait_ms: float
    served_ms: float
    """What all requests together have waited for their answers."""
    errors_returned: int
    late_replies: int
    resent: int


def create_page(run_directory: Path) -> tuple[int, memoryview]:
    """A fresh page for a gate that starts, and its descriptor; replaces that of one that is gone.

    Raises OSError.
    """
    path = run_directory / FILE_NAME
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, SIZE_BYTES)
        cells = map_page(descriptor)
        cells[BOOT], cells[BOOT + 1] = _BOOT_PAIR.unpack(uuid.UUID(boot_id()).bytes)
        cells[MAGIC_CELL] = MAGIC
        temporary.replace(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, cells


def map_page(descriptor: int) -> memoryview:
    """The page behind a descriptor that another process of the gate has handed over."""
    return memoryview(mmap.mmap(descriptor, SIZE_BYTES)).cast("Q")


def open_page(run_directory: Path) -> memoryview:
    """The page of a gate, by its name. Raises OSError."""
    descriptor = os.open(run_directory / FILE_NAME, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_size != SIZE_BYTES:
            raise OSError(errno.EINVAL, "not the page of a gate of this version")
        return map_page(descriptor)
    finally:
        os.close(descriptor)


def boot_of(cells: memoryview) -> str:
    """The boot of the host in which the page was made: proc_sys_kernel(5)."""
    return str(uuid.UUID(bytes=_BOOT_PAIR.pack(cells[BOOT], cells[BOOT + 1])))


def slot_offset(slot: int) -> int:
    """Index of a slot's first cell."""
    return HEAD_CELLS + slot * SLOT_CELLS


def failed_legs(cells: memoryview) -> set[int]:
    """Legs that failed although gate.json may not say so yet."""
    return {cells[index] for index in range(FIRST_FAILED, LAST_FAILED + 1)} - {0}


def mark_failed(cells: memoryview, number: int, *, failed: bool) -> None:
    """Remember at once, across the death of a worker, that a leg failed or is taken in again."""
    for index in range(FIRST_FAILED, LAST_FAILED + 1):
        if failed and cells[index] in (0, number):
            cells[index] = number
            return
        if not failed and cells[index] == number:
            cells[index] = 0


def keep_unheard(cells: memoryview) -> None:
    """A worker was killed: remember which legs it was flushing, before others use its slots."""
    for index in range(FLUSHING, FLUSHING + SLOTS):
        number = cells[index]
        if number and number not in unheard_legs(cells):
            free = (at for at in range(FIRST_UNHEARD, LAST_UNHEARD + 1) if not cells[at])
            cells[next(free, LAST_UNHEARD)] = number
        cells[index] = 0


def unheard_legs(cells: memoryview) -> set[int]:
    """Legs of which a worker that was killed may have heard an error that it could not tell."""
    return {cells[index] for index in range(FIRST_UNHEARD, LAST_UNHEARD + 1)} - {0}


def forget_unheard(cells: memoryview) -> None:
    """Whatever these legs may lack, they have, or they are not in use."""
    for index in range(FIRST_UNHEARD, LAST_UNHEARD + 1):
        cells[index] = 0


def gate_token(cells: memoryview) -> int:
    """The number by which this gate knows its own superblocks; drawn by its first worker."""
    if not cells[GATE_TOKEN]:
        cells[GATE_TOKEN] = int.from_bytes(os.urandom(8), "little") or 1
    return int(cells[GATE_TOKEN])


def announce_keeper(cells: memoryview, pid: int, started: int) -> None:
    """The worker has started a process to be keeper: nobody may take the gate for dead meanwhile.

    One cell says both, so that no number is ever seen with another process's start time.
    """
    cells[NEXT_KEEPER] = _as_one(pid, started)


def announced_keeper(cells: memoryview) -> tuple[int, int]:
    """Number and start time of a keeper that is not in service yet; 0, 0: there is none."""
    return _as_two(cells[NEXT_KEEPER])


def announce_standby(cells: memoryview, pid: int, started: int) -> None:
    """That process is prepared to be the next worker; 0, 0: nobody is."""
    cells[STANDBY] = _as_one(pid, started)


def announced_standby(cells: memoryview) -> tuple[int, int]:
    """Its number and start time; 0, 0: there is none. It may have died."""
    return _as_two(cells[STANDBY])


def announce_renewal(cells: memoryview, pid: int, started: int) -> None:
    """That process is about to end the worker, to renew it; 0, 0: it is not any more."""
    cells[RENEWER] = _as_one(pid, started)


def announced_renewal(cells: memoryview) -> tuple[int, int]:
    """Number and start time of who ends the worker on purpose; 0, 0: nobody. It may have died."""
    return _as_two(cells[RENEWER])


def _as_one(pid: int, started: int) -> int:
    return started << _PID_BITS | pid


def _as_two(cell: int) -> tuple[int, int]:
    return cell & (1 << _PID_BITS) - 1, cell >> _PID_BITS


def note_worker(cells: memoryview, pid: int, started: int, generation: int) -> None:
    """That process is the worker of that generation from now on, until it is forgotten.

    Where there is no room, that of the oldest one is taken, which is not known any more then.
    """
    index = min(_WORKERS, key=lambda i: cells[i] and cells[i + 1] + 1)
    cells[index] = 0  # never one process beside another one's generation
    cells[index + 1] = generation
    cells[index] = _as_one(pid, started)


def noted_workers(cells: memoryview) -> list[tuple[int, int, int]]:
    """Number, start time and generation of each worker that is noted. It may have ended."""
    return [(*_as_two(cells[i]), cells[i + 1]) for i in _WORKERS if cells[i]]


def forget_worker(cells: memoryview, pid: int, started: int) -> None:
    """That one has ended altogether."""
    for index in _WORKERS:
        if cells[index] == _as_one(pid, started):
            cells[index] = 0


def renew_plan(cells: memoryview) -> None:
    """Invalidate the plan of compiled code: it hands every request over from now on.

    Call this after the change, and find out who is at work only afterwards.
    """
    with _PLAN_LOCK:  # which lets nobody read before what was written before it
        cells[PLAN] = cells[PLAN] + 1 & (1 << 64) - 1


def note_written(cells: memoryview) -> None:
    """Note that there is something to record on the legs."""
    cells[WRITTEN] = 1


def remember_copied(cells: memoryview, number: int, region: int) -> None:
    """A leg that joined has every region before this one; of one leg at a time."""
    cells[RESYNC_LEG] = 0  # never the place of one leg beside the number of another
    cells[RESYNC_CURSOR] = region
    cells[RESYNC_LEG] = number


def forget_copied(cells: memoryview, number: int) -> None:
    """A leg joins, or is complete: whatever was copied before is of another attempt."""
    if cells[RESYNC_LEG] == number:
        cells[RESYNC_LEG] = 0


def take_copied(cells: memoryview) -> tuple[int, int]:
    """The leg to which the worker before was copying, 0 for none, and its first region not copied.

    It is forgotten with that. Only the very next worker may go on there: while another serves that
    has not joined the leg, it misses writes, also to what had been copied.
    """
    number, region = cells[RESYNC_LEG], cells[RESYNC_CURSOR]
    cells[RESYNC_LEG] = 0
    return number, region


def remember_container(cells: memoryview, number: int, identity: int) -> None:
    """Which container stands for a leg from now on, for the worker after this one."""
    index = next((i for i in _CONTAINERS if cells[i] == number), 0) or next(
        (i for i in _CONTAINERS if not cells[i]), FIRST_CONTAINER
    )
    cells[index + 1] = 0
    cells[index] = number
    cells[index + 2] = 0  # up to 0.1 a descriptor by which to take it over, 0: none
    cells[index + 1] = identity


def remembered_container(cells: memoryview, number: int) -> int:
    """Identity of the container that stood for a leg last; 0: not known."""
    return next((cells[index + 1] for index in _CONTAINERS if cells[index] == number), 0)


def forget_container(cells: memoryview, number: int) -> None:
    """A leg left the volume."""
    for index in _CONTAINERS:
        if cells[index] == number:
            cells[index] = 0


def count(cells: memoryview) -> Counters:
    """Add up the slots."""

    def total(cell: int) -> int:
        return sum(cells[slot_offset(slot) + cell] for slot in range(SLOTS))

    starts = [slot_offset(slot) for slot in range(SLOTS)]
    return Counters(
        keeper_pid=cells[KEEPER_PID],
        worker_pid=cells[WORKER_PID],
        takeovers=max(0, cells[GENERATION] - 1),
        keeper_takeovers=max(0, cells[KEEPER_GENERATION] - 1),
        held=bool(cells[ADMINISTRATIVE_HOLD] or cells[STORAGE_HOLD_SINCE]),
        in_flight=sum(bool(cells[at + BUSY_SINCE] and not cells[at + HELPS]) for at in starts),
        reads=total(READS),
        writes=total(WRITES),
        flushes=total(FLUSHES),
        discards=total(DISCARDS),
        read_bytes=total(READ_BYTES),
        written_bytes=total(WRITTEN_BYTES),
        longest_wait_ms=max(cells[start + LONGEST_WAIT] for start in starts) / 1e6,
        served_ms=total(SERVED_NS) / 1e6,
        errors_returned=total(ERRORS) + cells[KEEPER_ERRORS],
        late_replies=total(LATE_REPLIES),
        resent=total(RESENT),
    )


def read_counters(run_directory: Path) -> Counters | None:
    """Read the page of a running gate without asking it; None when there is none."""
    try:
        descriptor = os.open(run_directory / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if os.fstat(descriptor).st_size != SIZE_BYTES:
            return None
        with (
            mmap.mmap(descriptor, SIZE_BYTES, prot=mmap.PROT_READ) as page,
            memoryview(page) as view,
            view.cast("Q") as cells,
        ):
            return count(cells) if cells[MAGIC_CELL] == MAGIC else None
    finally:
        os.close(descriptor)
