"""The mirror and its legs against an array of blocks, through losses, returns and deaths.

Legs fail at any call, vanish, come back as they were, without their volatile cache, or as an older
copy; the process is killed before any call to a leg and succeeded by a worker that takes over, or
by a first one after a crash or a power cut. Whatever was answered must be read back; whatever was
flushed must be there after a power cut; legs in sync must be equal.

Left out, because no gate can see it (docs/semantics.md): without a journal, or where the host went
down with it, a copy taken after the last recorded position; copies in a leg's place on a host that
does not know the volume.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.containers.back_end import DescriptorBackEnd
from holdfast.errors import HoldfastError, NoSource
from holdfast.gate.members.configuration import load_configuration
from holdfast.gate.members.leg import Leg
from holdfast.gate.members.superblock import bitmap_offset, search_superblock
from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.shared_page import WRITTEN
from holdfast.model.volume import JournalMode, LegState
from holdfast.system.resources.memory import aligned_buffer
from tests.soak import rounds
from tests.unit.gate.gate_in_process import (
    BLOCK_BYTES,
    InProcessGate,
    KilledError,
    Request,
    copy_sparse,
)

REGION_BLOCKS = 256
SIZE_BYTES = 3 << 20
STARTS = (0, 1, 2, REGION_BLOCKS - 1, REGION_BLOCKS, 2 * REGION_BLOCKS - 2, 3 * REGION_BLOCKS - 3)
LONGEST = 3
BLOCKS = sorted({start + extra for start in STARTS for extra in range(LONGEST)})
MAXIMUM_NUMBER = 5
PICKS = st.integers(0, 2)
"""Which one of those that there are."""
RAM_DISK = Path("/dev/shm")


@dataclass
class Change:
    """A write or a zeroing that may have to wait, be sent again, or be lost with the process."""

    start: int
    count: int
    value: int

    @property
    def blocks(self) -> range:
        return range(self.start, self.start + self.count)


@dataclass
class Copy:
    """An image as it was once."""

    path: Path
    recorded: int
    changes: int


Ready = Callable[["MirrorModel"], object]
Doing = tuple[str, dict[str, Any]]
STEPS: dict[str, tuple[Ready, dict[str, st.SearchStrategy[Any]]]] = {}


def step(
    ready: Ready, **arguments: st.SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A method that Hypothesis may choose; nothing happens unless the model is ready for it."""

    def register(method: Callable[..., None]) -> Callable[..., None]:
        STEPS[method.__name__] = (ready, arguments)
        return method

    return register


class MirrorModel:
    """One volume with up to three legs."""

    def __init__(self, legs: int, unflushed: bool, seed: int) -> None:
        parent = RAM_DISK if os.access(RAM_DISK, os.W_OK) else None
        self.directory = Path(tempfile.mkdtemp(prefix="hf-mirror-", dir=parent))
        self.chance = random.Random(seed)
        mode = JournalMode.UNFLUSHED if unflushed else JournalMode.NONE
        self.journal = unflushed
        self.first_legs = legs
        self.gate = InProcessGate(self.directory, SIZE_BYTES, legs, mode)
        self.current: dict[int, set[int]] = {block: {0} for block in BLOCKS}
        """What a read may find: one value, several while it is in doubt."""
        self.after_power_cut: dict[int, set[int]] = {block: {0} for block in BLOCKS}
        self.changes = 0
        self.waiting: list[tuple[Change | None, Request]] = []
        self.unanswered: list[Change | None] = []
        self.page_alive = False
        self.saved: dict[int, tuple[Path, bool]] = {}
        """Images of lost legs as they were last, and whether a volatile cache was lost."""
        self.copies: dict[int, list[Copy]] = {}
        self.in_place: dict[int, Copy] = {}
        """Copies that were put in the places of legs, and that nobody has used yet."""
        self.ring_lost = False
        """The host went down, and its journal with it; nobody has started since."""
        self.next_file = 0
        self.gate.start()
        self.up = True

    def live(self, steps: list[Doing]) -> None:
        """Go through the steps, then through the end that every history has."""
        try:
            for name, arguments in steps:
                if STEPS[name][0](self):
                    getattr(self, name)(**arguments)
                    self.legs_in_sync_are_equal()
            self.everything_back()
        finally:
            if self.up:
                self.gate.die()
            shutil.rmtree(self.directory)

    def new_file(self) -> Path:
        self.next_file += 1
        return self.directory / f"copy-{self.next_file}"

    # --- doing things that may kill the process ---------------------------------------------

    def attempt(self, action: Callable[[], object]) -> bool:
        """Do it; False when the process died of it."""
        try:
            action()
            self.gate.tend()
            self.gate.finish_resyncs()
        except KilledError:
            self.died()
            return False
        self.settle_waiting()
        if self.up:
            self.drop_superseded()
        return True

    def drop_superseded(self) -> None:
        """What was saved of a leg is history once the gate uses what took its place."""
        for leg in self.gate.mirror.roster.writers:
            image = self.gate.image(leg.number)
            used = image.stat().st_ino == os.fstat(leg.descriptor).st_ino
            if used and image.stat().st_size > SIZE_BYTES:
                self.saved.pop(leg.number, None)
                self.in_place.pop(leg.number, None)

    def drop_outlived(self) -> None:
        """So it is when the process died while it took in what was put there, with a new epoch."""
        for number, (path, _) in list(self.saved.items()):
            image = self.gate.image(number)
            if image.exists() and epoch_on(image) > epoch_on(path):
                del self.saved[number]

    def died(self) -> None:
        self.gate.die()
        self.drop_outlived()
        self.up = False
        self.page_alive = True
        self.unanswered += [change for change, _ in self.waiting]
        self.waiting.clear()
        self.disarm()

    def disarm(self) -> None:
        self.gate.storages.calls_to_live = None
        self.gate.storages.error_after.clear()

    def settle_waiting(self) -> None:
        """Requests that were held are answered when storage is back, by themselves."""
        try:
            for each in list(self.waiting):
                if not self.gate.waits(each[1]):
                    self.waiting.remove(each)
                    self.answered(each[0])
        except KilledError:
            self.died()

    def answered(self, change: Change | None) -> None:
        if change is None:
            self.after_power_cut = {block: set(now) for block, now in self.current.items()}
            return
        for block in change.blocks:
            self.current[block] = {change.value}
            self.after_power_cut[block].add(change.value)

    def in_doubt(self, change: Change | None) -> None:
        if change is not None:
            for block in change.blocks:
                self.current[block].add(change.value)
                self.after_power_cut[block].add(change.value)

    def issue(self, change: Change | None) -> None:
        """Send a request; None is a flush."""
        if change is not None:
            self.in_doubt(change)
        try:
            request = self.gate.begin(self.function(change))
        except KilledError:
            self.unanswered.append(change)
            self.died()
            return
        if request is not None:
            self.waiting.append((change, request))
        else:
            self.answered(change)
        self.attempt(lambda: None)

    def function(self, change: Change | None) -> Callable[[Hand], None]:
        mirror = self.gate.mirror
        if change is None:
            return mirror.flush
        offset, length = change.start * BLOCK_BYTES, change.count * BLOCK_BYTES
        if change.value == 0:
            return lambda hand: mirror.zero(hand, offset, length, keep_allocated=False)
        view = memoryview(aligned_buffer(length))
        view[:] = change.value.to_bytes(8, "little") * (length // 8)
        return lambda hand: mirror.write(hand, view, offset)

    @property
    def members(self) -> list[int]:
        return [leg.number for leg in self.gate.mirror.roster.configuration.legs]

    @property
    def serving(self) -> bool:
        return self.up and not self.waiting and bool(self.gate.mirror.roster.readers)

    # --- requests ---------------------------------------------------------------------------

    @step(
        lambda self: self.serving,
        start=st.sampled_from(STARTS),
        count=st.integers(1, LONGEST),
        zero=st.booleans(),
    )
    def write(self, start: int, count: int, zero: bool) -> None:
        self.changes += 1
        value = 0 if zero and self.changes % 3 == 0 else self.changes
        self.issue(Change(start, count, value))

    @step(lambda self: self.serving)
    def flush(self) -> None:
        self.issue(None)

    @step(lambda self: self.serving)
    def read(self) -> None:
        """Every block holds what was answered; one in doubt holds the same ever after."""
        view = memoryview(aligned_buffer(BLOCK_BYTES))
        for block in BLOCKS:
            try:
                held = self.gate.begin(
                    lambda hand, block=block: self.gate.mirror.read(  # type: ignore[misc]
                        hand, view, block * BLOCK_BYTES
                    )
                )
            except KilledError:
                self.died()
                return
            if held is not None:
                # Nobody waits for an answer to it after the death that follows.
                self.died()
                return
            found = value_of(view)
            assert found in self.current[block], (
                f"block {block} holds {found} instead of {self.current[block]}"
            )
            self.current[block] = {found}
        self.attempt(lambda: None)

    @step(lambda self: self.serving)
    def checkpoint(self) -> None:
        """Once a second."""
        if not self.gate.cells[WRITTEN]:
            return
        try:
            held = self.gate.begin(self.gate.recovery.upkeep.checkpoint)
        except KilledError:
            self.died()
            return
        if held is not None:
            self.died()
            return
        self.attempt(lambda: None)

    # --- faults -----------------------------------------------------------------------------

    @step(lambda self: self.up, pick=PICKS, calls=st.integers(0, 8))
    def error_soon(self, pick: int, calls: int) -> None:
        """A leg fails at one of its next calls; its container is not harmed."""
        number = picked(pick, self.members)
        self.gate.storages.error_after[number] = calls

    @step(lambda self: self.up, calls=st.integers(0, 25))
    def death_soon(self, calls: int) -> None:
        """The process is killed before one of its next calls to legs."""
        self.gate.storages.calls_to_live = calls

    @step(lambda self: self.up, crash=st.booleans())
    def kill(self, crash: bool) -> None:
        self.died()

    @step(lambda self: self.serving, pick=PICKS, cache=st.booleans())
    def lose(self, pick: int, cache: bool) -> None:
        """A leg's storage goes away, perhaps with what it had not flushed."""
        number = picked(pick, self.gate.mirror.roster.present)
        image = self.gate.image(number)
        if image.stat().st_size < SIZE_BYTES:
            return
        path = self.new_file()
        copy_sparse(image, path)
        blocks = self.gate.storages.durable.pop(str(image), {})
        if cache:
            self.gate.storages.durable[str(path)] = blocks
            self.gate.storages.lose_cache(path, self.chance)
        self.saved[number] = (path, cache)
        os.truncate(image, 0)
        if cache and not self.journal:
            self.issue(None)  # what may be forgotten is known when the gate has noticed

    @step(lambda self: self.saved, pick=PICKS)
    def give_back(self, pick: int) -> None:
        """The lost storage is there again."""
        number = picked(pick, self.saved)
        path, cache_lost = self.saved[number]
        noticed = self.up and number not in self.gate.mirror.roster.present
        if cache_lost and not self.journal and not noticed:
            return
        self.put(number, path, lossy=cache_lost)
        del self.saved[number]
        self.probe(number)

    @step(lambda self: self.serving, pick=PICKS, cache=st.booleans(), start=st.sampled_from(STARTS))
    def outage(self, pick: int, cache: bool, start: int) -> None:
        """A leg's storage goes away, is missed, and comes back."""
        number = picked(pick, self.gate.mirror.roster.present)
        self.lose(pick, cache)
        if self.serving:
            self.write(start, 1, False)
        if number in self.saved:
            self.give_back(sorted(self.saved).index(number))

    def put(self, number: int, path: Path, *, lossy: bool) -> None:
        image = self.gate.image(number)
        self.in_place.pop(number, None)
        self.gate.storages.durable.pop(str(image), None)
        path.replace(image)
        if lossy and not self.journal and not (self.up and self.gate.mirror.roster.readers):
            self.forget_unflushed()

    def forget_unflushed(self) -> None:
        for block in BLOCKS:
            self.current[block] |= self.after_power_cut[block]

    @step(lambda self: self.up, pick=PICKS)
    def look(self, pick: int) -> None:
        """The time for a probe has come."""
        self.probe(picked(pick, self.members))

    def probe(self, number: int) -> None:
        """The keeper's child found something where a leg that is away is looked for."""
        if not self.up:
            return
        roster = self.gate.mirror.roster
        legs = {entry.number: entry for entry in roster.configuration.legs}
        if number not in legs or number in roster.present:
            return

        def bring_back() -> None:
            try:
                self.gate.bring_back(legs[number])
            except (HoldfastError, OSError):
                return  # it is refused, and the volume is as it was

        if self.attempt(bring_back) and number in self.gate.mirror.roster.present:
            self.saved.pop(number, None)

    @step(
        lambda self: self.serving,
        pick=PICKS,
        calls=st.integers(0, 9),
        start=st.sampled_from(STARTS),
        lives=st.integers(0, 9),
    )
    def return_twice(self, pick: int, calls: int, start: int, lives: int) -> None:
        """A leg fails while it is brought up to date, returns again, and the worker may die."""
        number = picked(pick, self.members)
        if number in self.gate.mirror.roster.present or number in self.saved:
            return
        self.gate.storages.error_after[number] = calls
        self.probe(number)
        if self.serving:
            self.write(start, 1, False)
        if self.up:
            self.gate.storages.calls_to_live = lives
            self.probe(number)

    @step(
        lambda self: self.serving and len(self.gate.mirror.roster.readers) > 1 and not self.saved,
        pick=PICKS,
        start=st.sampled_from(STARTS),
    )
    def bad_sector(self, pick: int, start: int) -> None:
        """A block of one leg cannot be read until it is written; the others have it."""
        storages = self.gate.storages
        storages.error_after.clear()
        number = picked(pick, (leg.number for leg in self.gate.mirror.roster.readers))
        storages.bad_places[number] = {start * BLOCK_BYTES}
        self.read()
        storages.bad_places.clear()

    @step(lambda self: not self.up, pick=PICKS, start=st.sampled_from(STARTS), cut=st.booleans())
    def start_with_a_bad_sector(self, pick: int, start: int, cut: bool) -> None:
        """After a crash a block of one leg cannot be written: not by a replay, nor otherwise."""
        number = picked(pick, self.members)
        self.gate.storages.unwritable.add((number, start * BLOCK_BYTES))
        self.start_after_crash(cut)
        if self.serving:
            self.read()
        if self.serving:
            self.checkpoint()
        self.gate.storages.unwritable.clear()

    @step(
        lambda self: not self.up and not self.saved,
        pick=PICKS,
        power_cut=st.booleans(),
        read=st.booleans(),
        over=st.booleans(),
    )
    def lose_one_before_all_are_equal(
        self, pick: int, power_cut: bool, read: bool, over: bool
    ) -> None:
        """After a crash a leg is lost while the others may still differ from it."""
        self.gate.slow = True
        if over and self.page_alive:
            self.take_over()
        else:
            self.start_after_crash(power_cut)
        if self.serving and read:
            self.read()
        if self.serving:
            self.lose(pick, cache=False)
        if self.serving:
            self.read()
        self.gate.slow = False
        if self.up:
            self.died()

    @step(lambda self: not self.up and self.page_alive, pick=PICKS, start=st.sampled_from(STARTS))
    def take_over_with_a_bad_sector(self, pick: int, start: int) -> None:
        """What is kept for a bad place outlives the worker."""
        owed = self.gate.mirror.owed.offsets
        for number in self.members:
            self.gate.storages.unwritable |= {(number, offset) for offset in owed}
        self.take_over()
        if self.serving:
            self.read()
        self.gate.storages.unwritable.clear()

    @step(lambda self: self.serving, pick=PICKS, start=st.sampled_from(STARTS))
    def bad_bitmap(self, pick: int, start: int) -> None:
        """A leg cannot keep its bitmap for the time of one write."""
        leg = picked_leg(pick, self.gate.mirror.roster.readers)
        tail = bitmap_offset(leg.container_bytes, leg.size_bytes)
        self.gate.storages.unwritable.add((leg.number, tail))
        self.write(start, 1, False)
        if self.up:
            self.died()
        self.gate.storages.unwritable.clear()

    @step(lambda self: True, pick=PICKS, extra=st.integers(1, 3))
    def enlarge(self, pick: int, extra: int) -> None:
        """Somebody gives a container more room than it needs."""
        image = self.gate.image(picked(pick, self.members))
        if image.exists() and image.stat().st_size > SIZE_BYTES:
            os.truncate(image, image.stat().st_size + extra * (40 << 10))

    @step(lambda self: self.up and not self.gate.hosts, pick=PICKS)
    def copy(self, pick: int) -> None:
        """Somebody copies a leg's image."""
        number = picked(pick, self.members)
        image = self.gate.image(number)
        if number not in self.gate.mirror.roster.present or not image.stat().st_size:
            return
        path = self.new_file()
        copy_sparse(image, path)
        recorded = self.gate.mirror.roster.configuration.recorded_position
        self.copies.setdefault(number, []).append(Copy(path, recorded, self.changes))

    @step(lambda self: self.copies, pick=PICKS, which=st.integers(0, 3))
    def put_older_copy(self, pick: int, which: int) -> None:
        """An older copy takes the place of a leg that is not in use."""
        number = picked(pick, self.copies)
        copies = self.copies[number]
        copy = copies[which % len(copies)]
        if self.up and number in self.gate.mirror.roster.present:
            return
        if (not self.journal or self.ring_lost) and self.passes_for_current(copy):
            return
        image = self.gate.image(number)
        if number not in self.saved and image.exists():
            path = self.new_file()
            copy_sparse(image, path)
            self.saved[number] = (path, False)
        path = self.new_file()
        copy_sparse(copy.path, path)
        self.put(number, path, lossy=False)
        self.in_place[number] = copy
        self.probe(number)

    def passes_for_current(self, copy: Copy) -> bool:
        """Whether nothing but a journal tells it from the leg itself."""
        recorded = load_configuration(self.gate.state_directory).recorded_position
        return copy.recorded == recorded and copy.changes != self.changes

    # --- membership -------------------------------------------------------------------------

    @step(lambda self: self.serving)
    def add_leg(self) -> None:
        configuration = self.gate.mirror.roster.configuration
        number = 1 + max(configuration.last_number, *(leg.number for leg in configuration.legs))
        if len(configuration.legs) == 3 or number > MAXIMUM_NUMBER:
            return
        url = f"file:{self.gate.image(number)}"
        self.attempt(lambda: self.change(lambda hand: self.gate.changes.add(hand, url)))

    @step(lambda self: self.serving, pick=PICKS)
    def remove_leg(self, pick: int) -> None:
        name = str(picked(pick, self.members))
        self.attempt(lambda: self.change(lambda hand: self.gate.changes.remove(hand, name)))

    def change(self, function: Callable[[Hand], object]) -> None:
        try:
            self.gate.run(function)
        except (HoldfastError, OSError):
            return  # refused, or the leg failed while it was made

    # --- the next life ----------------------------------------------------------------------

    @step(lambda self: not self.up and self.page_alive)
    def take_over(self) -> None:
        """The keeper forks another worker; the kernel sends what has no answer."""
        try:
            self.gate.take_over()
        except KilledError:
            self.gate.die()
            return
        self.up = True
        if not self.attempt(lambda: None):
            return
        unanswered, self.unanswered = self.unanswered, []
        for change in unanswered:
            if self.up:
                self.issue(change)
            else:
                self.unanswered.append(change)

    @step(lambda self: not self.up, power_cut=st.booleans())
    def start_after_crash(self, power_cut: bool) -> None:
        """All processes died, perhaps with the power of everything."""
        if power_cut and any(map(self.passes_for_current, self.in_place.values())):
            return
        if power_cut:
            self.cut_power()
        self.start()

    @step(lambda self: not self.up and not self.saved and not self.copies)
    def start_elsewhere(self) -> None:
        """Another host attaches the legs: what is only in the journal of this one is not there.

        One that was there before knows one of them, or it has to be told where they are.
        """
        host = "B" if self.gate.state_directory.name == "state" else "state"
        remembered = self.gate.directory / host
        if (remembered / "gate.json").exists():
            known = {leg.number for leg in load_configuration(remembered).legs}
            if not known & set(self.members):
                return
        try:
            self.gate.move_to(host)
        except HoldfastError:
            return
        self.forget_unflushed()
        self.start()

    @step(lambda self: self.serving and not self.gate.mirror.roster.unsettled)
    def detach_and_attach(self) -> None:
        try:
            self.gate.close_cleanly()
        except KilledError:
            self.died()
            self.page_alive = False
            return
        self.up = False
        self.start()

    def cut_power(self) -> None:
        for path in list(self.gate.storages.durable):
            self.gate.storages.lose_cache(Path(path), self.chance)
        self.gate.lose_memory()
        self.ring_lost = True
        self.changes += 1  # what copies from before have, the legs may have lost
        self.forget_unflushed()

    def start(self) -> None:
        self.page_alive = False
        self.unanswered.clear()
        self.disarm()
        try:
            self.gate.start()
        except NoSource:
            return  # legs are missing; see everything_back
        self.up, self.ring_lost = True, False
        self.attempt(lambda: None)

    # --- what must hold ---------------------------------------------------------------------

    def legs_in_sync_are_equal(self) -> None:
        if not self.up or self.waiting or self.gate.mirror.roster.unsettled:
            return
        if self.gate.slow:
            return
        owed = {offset // BLOCK_BYTES for offset in self.gate.mirror.owed.offsets}
        contents: dict[int, list[int]] = {}
        for leg in self.gate.mirror.roster.readers:
            image = self.gate.image(leg.number)
            if image.stat().st_size < SIZE_BYTES:
                continue  # lost, and not noticed yet
            descriptor = os.open(image, os.O_RDONLY)
            try:
                if os.fstat(descriptor).st_ino != os.fstat(leg.descriptor).st_ino:
                    continue  # it came back, and its loss was not noticed
                contents[leg.number] = [
                    value_of(memoryview(os.pread(descriptor, BLOCK_BYTES, block * BLOCK_BYTES)))
                    for block in BLOCKS
                    if block not in owed
                ]
            finally:
                os.close(descriptor)
        assert len({tuple(content) for content in contents.values()}) <= 1, (
            f"legs in sync differ: {contents}"
        )

    def everything_back(self) -> None:
        """With all storage as it was last, the volume serves again and nothing is missing."""
        self.disarm()
        if not self.up and self.page_alive and not self.saved:
            self.take_over()
        if self.up and self.gate.mirror.roster.readers:
            self.read()
        if self.up:
            self.died()
        for number in list(self.saved):
            path, cache_lost = self.saved.pop(number)
            if self.gate.image(number).exists():
                self.put(number, path, lossy=cache_lost)
        self.start()
        assert self.up, "all storage is back, and the volume does not start"
        self.read()
        for entry in self.gate.mirror.roster.configuration.legs:
            image = self.gate.image(entry.number)
            whole = image.exists() and image.stat().st_size > SIZE_BYTES
            if entry.number > self.first_legs and whole:
                whole = epoch_on(image) > 0  # its first one failed: it never began to be a leg
            if whole and entry.number not in self.gate.mirror.roster.present:
                self.gate.bring_back(entry)
                self.gate.finish_resyncs()
                assert self.gate.mirror.roster.present[entry.number].state is LegState.IN_SYNC
        self.legs_in_sync_are_equal()


def picked(pick: int, numbers: Iterable[int]) -> int:
    """One of the numbers."""
    known = sorted(numbers)
    return known[pick % len(known)]


def picked_leg(pick: int, legs: tuple[Leg, ...]) -> Leg:
    """One of the legs."""
    return legs[pick % len(legs)]


def epoch_on(image: Path) -> int:
    """The epoch that the image of a leg knows; 0: it is none."""
    device = DescriptorBackEnd(os.open(image, os.O_RDONLY))
    try:
        found = search_superblock(device, image.stat().st_size, 10.0)
        return found[0].epoch if found else 0
    finally:
        device.close()


def value_of(block: memoryview) -> int:
    """The value that fills a block; fails when there is more than one."""
    first = bytes(block[:8])
    assert bytes(block) == first * (len(block) // 8), "a block is torn"
    return int.from_bytes(first, "little")


HISTORIES = st.lists(
    st.one_of(
        *(
            st.tuples(st.just(name), st.fixed_dictionaries(arguments))
            for name, (_, arguments) in STEPS.items()
        )
    ),
    min_size=20,  # Hypothesis makes lists about twice as long
    max_size=60,
)


OLD_COPY_AFTER_A_FAILED_RETURN: list[Doing] = [
    ("add_leg", {}),
    ("copy", {"pick": 0}),
    ("write", {"start": 0, "count": 1, "zero": False}),
    ("error_soon", {"pick": 0, "calls": 4}),
    ("flush", {}),
    ("detach_and_attach", {}),
    ("error_soon", {"pick": 0, "calls": 0}),
    ("error_soon", {"pick": 0, "calls": 0}),
    ("flush", {}),
    ("put_older_copy", {"pick": 0, "which": 0}),
    ("put_older_copy", {"pick": 0, "which": 0}),
]
"""A copy older than the leg's last position comes back, fails before it is marked as incomplete,
and comes back once more: it is still not what the leg was when it left."""


COPY_OF_BEFORE_A_POWER_CUT: list[Doing] = [
    ("copy", {"pick": 0}),
    ("bad_bitmap", {"pick": 0, "start": 1}),
    ("start_after_crash", {"power_cut": True}),
    ("kill", {"crash": False}),
    ("take_over", {}),
    ("read", {}),
    ("error_soon", {"pick": 0, "calls": 0}),
    ("flush", {}),
    ("put_older_copy", {"pick": 0, "which": 0}),
]
"""The leg kept a write in a power cut that the journal lost; it was read since. A copy of before,
at the same position, comes in the leg's place: the journal does not make it current."""


ELSEWHERE_AFTER_HALF_A_REMOVAL: list[Doing] = [
    ("death_soon", {"calls": 4}),
    ("flush", {}),
    ("remove_leg", {"pick": 0}),
    *[("flush", {})] * 12,
    ("start_elsewhere", {}),
    ("flush", {}),
    ("checkpoint", {}),
]
"""A worker died when one leg of three had been told that another one is none any more. A host that
remembers nothing gets all three: nothing newer can be anywhere, and the volume starts."""


@example(legs=3, unflushed=False, seed=0, history=ELSEWHERE_AFTER_HALF_A_REMOVAL)
@example(legs=1, unflushed=False, seed=0, history=OLD_COPY_AFTER_A_FAILED_RETURN)
@example(legs=1, unflushed=True, seed=0, history=COPY_OF_BEFORE_A_POWER_CUT)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@settings(max_examples=rounds(100, 5000), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 3), st.booleans(), st.integers(0, 9), HISTORIES)
def test_what_was_answered_is_there(
    legs: int, unflushed: bool, seed: int, history: list[Doing]
) -> None:
    MirrorModel(legs, unflushed, seed).live(history)
