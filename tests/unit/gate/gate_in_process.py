"""A gate without keeper, worker and kernel: the real mirror with real legs on image files.

`InProcessGate` does what a worker does around the mirror. It can die before any call to a leg, as a
killed process does: what was written stays, what was in memory is gone. Each leg lies behind a
`FaultyStorage`, which stands for a disk with a volatile cache.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from holdfast.containers import open_container
from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.journalling import FILES
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.task import LegTask
from holdfast.gate.data.write_log.unflushed import Unflushed
from holdfast.gate.log.ring import FILE_NAME
from holdfast.gate.members.configuration import (
    HISTORY,
    GateConfiguration,
    LegEntry,
    load_configuration,
    save_configuration,
)
from holdfast.gate.members.leg import Leg
from holdfast.gate.members.provision import provision, rediscover
from holdfast.gate.members.superblock import Superblock, bitmap_offset, search_superblock
from holdfast.gate.repair.changes import Changes
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.repair.replacing import Replacing
from holdfast.gate.repair.start import start_first
from holdfast.gate.repair.taking_over import take_over
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import Hand, Hands
from holdfast.gate.runtime.incidents import Incidents
from holdfast.model.history import HistoryPlace
from holdfast.model.volume import JournalFailurePolicy, JournalMode, LegState

BLOCK_BYTES = 4096
RING_BYTES = 128 << 10
PATIENCE_SECONDS = 20.0


class KilledError(BaseException):
    """The process died here."""


class Storages:
    """What the disks behind all legs know, whoever uses them: unflushed blocks, and a fuse.

    The fuse is a count of calls to legs: at its end the process dies.
    """

    def __init__(self) -> None:
        self.durable: dict[str, dict[int, bytes]] = {}
        """By path: what each block written since the last flush held before."""
        self.calls_to_live: int | None = None
        self.error_after: dict[int, int] = {}
        """By leg number: calls until one fails."""
        self.bad_places: dict[int, set[int]] = {}
        """By leg number: offsets that cannot be read until they are written."""
        self.not_writable: set[tuple[int, int]] = set()
        """Bad places, by leg number, that cannot be written either."""
        self.unwritable: set[tuple[int, int]] = set()
        """Places, by leg number, that can be read and not be written."""
        self.dead = False
        self.flush_fails = False

    def burn(self, number: int, offset: int = 0, length: int = 0, *, writing: bool = False) -> None:
        """One call to a leg. Raises KilledError at the end of the fuse and ever after."""
        if self.calls_to_live is not None:
            self.calls_to_live -= 1
            self.dead = self.dead or self.calls_to_live < 0
        if self.dead:
            raise KilledError
        if number in self.error_after:
            self.error_after[number] -= 1
            if self.error_after[number] < 0:
                del self.error_after[number]
                raise OSError(errno.EIO, "injected")
        for leg, place in self.unwritable if writing else ():
            if leg == number and offset <= place < offset + length:
                raise OSError(errno.EIO, "bad sector")
        for place in list(self.bad_places.get(number, ())):
            if offset <= place < offset + length:
                if not writing:
                    raise OSError(errno.ENODATA, "bad sector")
                if (number, place) in self.not_writable:
                    raise OSError(errno.EIO, "bad sector")
                self.bad_places[number].discard(place)  # the disk uses another sector for it

    def lose_cache(self, path: Path, chance: random.Random) -> None:
        """The disk lost power: each block that was not flushed is as it was, or not."""
        blocks = self.durable.pop(str(path), {})
        if not path.exists():
            return
        size = path.stat().st_size
        with path.open("r+b") as file:
            for index, content in sorted(blocks.items()):
                if index * BLOCK_BYTES < size and chance.random() < 0.7:
                    file.seek(index * BLOCK_BYTES)
                    file.write(content)


class FaultyStorage:
    """A leg on a disk with a volatile cache; every call may be the last one of this process."""

    def __init__(self, leg: Leg, storages: Storages, opened: list[Leg]) -> None:
        self._leg = leg
        self._storages = storages
        self._opened = opened
        self._path = leg.url.removeprefix("file:")

    def _remember(self, offset: int, length: int) -> None:
        blocks = self._storages.durable.setdefault(self._path, {})
        with open(self._path, "rb") as file:
            for index in range(offset // BLOCK_BYTES, -(-(offset + length) // BLOCK_BYTES)):
                if index not in blocks:
                    file.seek(index * BLOCK_BYTES)
                    blocks[index] = file.read(BLOCK_BYTES).ljust(BLOCK_BYTES, b"\0")

    def read(self, view: memoryview, offset: int) -> None:
        self._storages.burn(self._leg.number, offset, len(view))
        self._leg.read(view, offset)

    def write(self, view: memoryview, offset: int) -> None:
        self._storages.burn(self._leg.number, offset, len(view), writing=True)
        self._remember(offset, len(view))
        self._leg.write(view, offset)

    def zero(self, offset: int, length: int, *, keep_allocated: bool) -> int:
        self._storages.burn(self._leg.number, offset, length, writing=True)
        self._remember(offset, length)
        return self._leg.zero(offset, length, keep_allocated=keep_allocated)

    def flush(self) -> None:
        self._storages.burn(self._leg.number)
        if self._storages.flush_fails:
            raise OSError(errno.EIO, "injected")
        self._leg.flush()
        self._storages.durable.pop(self._path, None)

    def _bitmap_page(self, page_number: int) -> int:
        tail = bitmap_offset(self._leg.container_bytes, self._leg.size_bytes)
        return tail + page_number * BLOCK_BYTES

    def read_bitmap(self) -> bytes:
        self._storages.burn(self._leg.number, self._bitmap_page(0), BLOCK_BYTES)
        return self._leg.read_bitmap()

    def write_bitmap(self, page: memoryview, page_number: int) -> None:
        place = self._bitmap_page(page_number)
        self._storages.burn(self._leg.number, place, BLOCK_BYTES, writing=True)
        self._remember(place, BLOCK_BYTES)
        self._leg.write_bitmap(page, page_number)

    def write_superblock(self, superblock: Superblock) -> None:
        self._storages.burn(self._leg.number)
        self._leg.write_superblock(superblock)
        self._storages.durable.pop(self._path, None)  # it flushes the whole disk

    def discard(self) -> None:
        if not self._leg.taken and self in self._opened:
            self._leg.discard()
            self._opened.remove(self)  # its descriptor's number may be another file's soon

    def __getattr__(self, name: str) -> Any:
        return getattr(self._leg, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            setattr(self._leg, name, value)


class Request:
    """A request that may have to wait: its thread, and how to carry it out again."""

    def __init__(self, gate: InProcessGate, function: Callable[[Hand], None]) -> None:
        self.function = function
        self.task = LegTask(gate.mirror.hands, function)


class InProcessGate:
    """One life after the other of the gate in `directory`."""

    def __init__(
        self,
        directory: Path,
        size_bytes: int,
        legs: int,
        journal: JournalMode,
        failure: JournalFailurePolicy = JournalFailurePolicy.DEGRADE,
    ) -> None:
        self.directory = directory
        self.history = directory / "history"
        self.history.mkdir(mode=0o700)
        (self.history / "lock").touch(mode=0o600)
        self.state_directory = directory / "state"
        self.run_directory.mkdir()
        self.storages = Storages()
        self.journal = journal
        self.cells = new_page()
        self.opened: list[Leg] = []
        self.slow = False
        """Whether legs are filled, or made equal, so slowly that it does not end."""
        self.ring_bytes = RING_BYTES
        self.hosts = 0
        """How often it went to another host."""
        self.mirror: Mirror
        self.recovery: Recovery
        self.changes: Changes
        entries = tuple(
            LegEntry(number, f"leg-{number}-of-the-volume", f"file:{self.image(number)}")
            for number in range(1, legs + 1)
        )
        provision(
            self.state_directory,
            GateConfiguration(
                "model",
                "the-volume",
                size_bytes,
                1,
                entries,
                journal=journal,
                resync_bytes_per_second=0,
                descriptor={HISTORY: HistoryPlace(str(self.history), on_failure=failure).as_json()},
            ),
            create=True,
        )

    @property
    def run_directory(self) -> Path:
        """Of the host where it is now."""
        return self.directory / f"run-{self.state_directory.name}"

    def lose_memory(self) -> None:
        """The host went down."""
        (self.run_directory / FILE_NAME).unlink(missing_ok=True)

    def image(self, number: int) -> Path:
        """The image that the test puts where leg `number` is looked for."""
        return self.directory / f"{number}.img"

    # --- lives ------------------------------------------------------------------------------

    def start(self, *, force: bool = False) -> None:
        """The first worker of a gate. Raises NoSource; the gate is down then."""
        self.cells = new_page()
        self._new_worker()
        try:
            self._open_journal()
            self.run(lambda hand: start_first(self.recovery, hand, force=force))
        except BaseException:
            self.die()
            raise

    def take_over(self) -> None:
        """The worker after one that died; the shared page is as that one left it."""
        self._new_worker()
        self._open_journal()
        self.run(lambda hand: take_over(self.recovery, hand))

    def move_to(self, host: str) -> None:
        """The next start is on that host, which remembers what it did itself, or nothing.

        Raises HoldfastError when it knows nothing, and cannot find the volume on the legs.
        """
        state_directory = self.directory / host
        if not (state_directory / "gate.json").exists():
            urls = [f"file:{path}" for path in sorted(self.directory.glob("[0-9].img"))]
            found = replace(
                rediscover(legs_not_in_use(urls)), resync_bytes_per_second=0, journal=self.journal
            )
            state_directory.mkdir(exist_ok=True)
            save_configuration(state_directory, found)
        self.state_directory = state_directory
        self.run_directory.mkdir(exist_ok=True)
        self.hosts += 1

    def beside(self, host: str) -> InProcessGate:
        """A gate of the same containers on another host, while this one lives."""
        other = InProcessGate.__new__(InProcessGate)
        other.__dict__.update(self.__dict__)
        other.opened, other.storages = [], Storages()
        other.move_to(host)
        return other

    def die(self) -> None:
        """Nothing of this life does anything any more; all its descriptors are closed."""
        self.storages.dead = True
        page = self.cells
        self.cells = memoryview(bytearray(page)).cast("Q")
        page[shared_page.STORAGE_HOLD_SINCE] = page[shared_page.STORAGE_HOLD_DEADLINE] = 1
        deadline = monotonic() + PATIENCE_SECONDS
        for resync in self.recovery.resyncs.values():
            resync.stopping.set()
        self.mirror.equalising.stopping.set()
        self.mirror.log.close()
        while self.mirror.hands.all() and monotonic() < deadline:
            self.mirror.hold.enforce()
            for hand in self.mirror.hands.all():
                if hand is self.hand:
                    self.mirror.hands.put_back(hand)
            os.sched_yield()
        assert not self.mirror.hands.all(), "a thread of the dead process is still at work"
        for leg in self.opened:
            leg.close()
            leg.forget()
        del self.opened[:]

    def close_cleanly(self) -> None:
        """The device was unmounted; what takes the run directory away then leaves records."""
        self.begin(self.recovery.upkeep.close_cleanly)  # a held one is abandoned
        is_empty = not self.mirror.log.used_bytes
        self.die()
        if is_empty:
            self.lose_memory()

    def _new_worker(self) -> None:
        self.storages.dead = False
        configuration = replace(
            load_configuration(self.state_directory), resync_bytes_per_second=int(self.slow)
        )
        hands = Hands(self.cells)
        incidents = Incidents("model", self.state_directory / "spool")
        self.mirror = Mirror(
            self.state_directory, self.run_directory, configuration, self.cells, hands, incidents
        )
        self.hand = hands.take()
        self.recovery = Recovery(self.mirror, lambda question: True)
        really_open = self.recovery.open

        def open_behind_fault(
            hand: Hand, entry: LegEntry, inherited: int | None = None
        ) -> tuple[Leg, Superblock | None]:
            if self.storages.dead:
                raise KilledError
            leg, superblock = really_open(hand, entry, inherited)
            assert isinstance(leg, Leg)
            faulty = FaultyStorage(leg, self.storages, self.opened)
            self.opened.append(faulty)
            return faulty, superblock

        self.recovery.open = open_behind_fault  # type: ignore[method-assign]
        self.changes = Changes(self.mirror, self.recovery)
        self.replacing = Replacing(self.mirror, self.changes)

    def _open_journal(self) -> None:
        """As Journalling.open does, with a small ring."""
        configuration = self.mirror.roster.configuration
        journalling = self.mirror.journalling
        if configuration.journal is JournalMode.NONE:
            return
        log = (
            journalling._continuous()
            if configuration.journal is JournalMode.CONTINUOUS
            else Unflushed(
                self.run_directory / FILE_NAME,
                self.state_directory / FILES,
                configuration.volume_id,
                self.cells,
                journalling.failed,
            )
        )
        log._ring.new_area_bytes = self.ring_bytes
        log.open(configuration.recorded_position)
        journalling.log = log

    # --- what a worker does -----------------------------------------------------------------

    def run(self, function: Callable[[Hand], Any]) -> None:
        """Do something on a thread of its own and wait for it; raises what it raises."""
        LegTask(self.mirror.hands, function).result(PATIENCE_SECONDS)

    def begin(self, function: Callable[[Hand], None]) -> Request | None:
        """Carry out a request; None when it was answered, the request when it is held."""
        request = Request(self, function)
        return request if self.waits(request) else None

    def waits(self, request: Request) -> bool:
        """Whether the request is held. Raises what it raised: KilledError."""
        deadline = monotonic() + PATIENCE_SECONDS
        while request.task.is_alive():
            request.task.join(0.0005)
            if request.task.is_alive() and self.is_waiting:
                return True
            assert monotonic() < deadline, "a request hangs although storage is there"
        request.task.result()
        return False

    @property
    def is_waiting(self) -> bool:
        """Whether every request and resynchronisation that is under way waits for storage."""
        waiting = len(self.mirror.hold._condition._waiters)  # type: ignore[attr-defined]
        return self.mirror.hold.storage_lost and waiting >= len(self._at_work())

    def tend(self) -> None:
        """One round of the main loop: close what failed, see to resynchronisations."""
        for leg in self.mirror.roster.retired.take():
            leg.close()
        self.recovery.tick()
        self.replacing.tick()

    def bring_back(self, entry: LegEntry) -> None:
        """What happens when a probe found a leg's storage. Raises HoldfastError, OSError."""

        def bring(hand: Hand) -> None:
            with hand.holding(self.recovery.changing):
                self.recovery.bring_back(hand, entry)

        self.run(bring)

    def finish_resyncs(self) -> None:
        """Let every resynchronisation end."""
        deadline = monotonic() + PATIENCE_SECONDS
        while not (self.slow or self.is_waiting) and (self.recovery.resyncs or self._at_work()):
            for resync in list(self.recovery.resyncs.values()):
                resync.join(0.0005)
            self.tend()
            if self.storages.dead and not self._at_work():
                raise KilledError
            assert monotonic() < deadline, "a resynchronisation does not end"

    def _at_work(self) -> list[Hand]:
        """The threads that do something, or wait."""
        idle = [self.hand]
        if self.slow:
            idle += [self.mirror.equalising.hand]
            idle += [resync.hand for resync in self.recovery.resyncs.values()]
        return [hand for hand in self.mirror.hands.all() if hand not in idle]


def legs_not_in_use(urls: list[str]) -> list[str]:
    """Those whose containers are legs that nobody has locked."""
    free = []
    for url in urls:
        with suppress(BlockingIOError):
            device = open_container(url).open()
            if search_superblock(device, device.size_bytes(), 10.0):
                free.append(url)
            device.close()
    return free


def new_page() -> memoryview:
    """A shared page of a gate that starts."""
    return memoryview(bytearray(shared_page.SIZE_BYTES)).cast("Q")


def copy_sparse(source: Path, destination: Path) -> None:
    """Copy a file; holes stay holes."""
    with source.open("rb") as old, destination.open("wb") as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        offset = 0
        while offset < size:
            try:
                offset = os.lseek(old.fileno(), offset, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(old.fileno(), offset, os.SEEK_HOLE)
            os.pwrite(new.fileno(), os.pread(old.fileno(), end - offset, offset), offset)
            offset = end


__all__ = ["HoldExpired", "InProcessGate", "KilledError", "LegState", "copy_sparse", "replace"]
