"""One bad place of a leg that is otherwise there: one request waits and fails, all others go on.

With another leg the place is read there and written again. A resynchronisation leaves it for the
end, and ends when it can be read.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.task import LegTask
from holdfast.gate.members import superblock
from holdfast.gate.members.superblock import bitmap_offset
from holdfast.gate.runtime.claims import Hand
from holdfast.model.volume import JournalMode
from tests.unit.gate.blocks import block_of, on_leg, read, states, write
from tests.unit.gate.gate_in_process import InProcessGate
from tests.waiting import wait_until

SIZE = 8 << 20
BAD = (2 << 20) + 8192
GOOD = 5 << 20


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[Callable[[int], InProcessGate]]:
    made = []

    def make(legs: int, journal: JournalMode = JournalMode.UNFLUSHED) -> InProcessGate:
        gate = InProcessGate(tmp_path, SIZE, legs, journal)
        gate.start()
        made.append(gate)
        write(gate, b"1", BAD, flush=True)
        gate.mirror.hold.set_timeout(0.4)
        return gate

    yield make
    for gate in made:
        gate.storages.bad_places.clear()
        gate.die()


def reading(gate: InProcessGate, hand: Hand) -> None:
    gate.mirror.read(hand, block_of(b"?"), BAD)


def writing(gate: InProcessGate, hand: Hand) -> None:
    gate.mirror.write(hand, block_of(b"2"), BAD)


def served(
    gate: InProcessGate, ask: Callable[[InProcessGate, Hand], None], hand: Hand
) -> Future[None]:
    """The request, carried out by a thread that serves with this hand."""

    def serve() -> None:
        try:
            ask(gate, hand)
        finally:
            gate.mirror.hands.put_back(hand)

    return ThreadPoolExecutor(1).submit(serve)


@pytest.mark.parametrize("ask", [reading, writing])
def test_that_request_alone_fails_at_its_deadline(
    gates: Callable[[int], InProcessGate], ask: Callable[[InProcessGate, Hand], None]
) -> None:
    gate = gates(1)
    gate.storages.bad_places[1] = {BAD}
    gate.storages.not_writable.add((1, BAD))
    relieved: list[Hand] = []
    hand = gate.mirror.hands.take(relieved.append)
    task = served(gate, ask, hand)
    others = 0
    while not task.done():
        write(gate, b"x", GOOD, flush=True)
        assert read(gate, GOOD) == b"x"
        others += 1
    with pytest.raises(HoldExpired):
        task.result()
    assert others
    assert relieved == [hand]
    assert not gate.mirror.hold.storage_lost
    assert states(gate) == {1: "in-sync"}
    [incident] = [each for each in gate.mirror.incidents.open if each.strategy == "bad-place"]
    receipt = incident.receipt("model")
    assert (receipt.requests_held, receipt.errors_returned) == (1, 1)
    assert str(BAD) in receipt.cause


def test_it_is_answered_when_the_place_works_again(
    gates: Callable[[int], InProcessGate],
) -> None:
    gate = gates(1)
    gate.mirror.hold.set_timeout(60.0)
    gate.storages.bad_places[1] = {BAD}
    waits = threading.Event()
    task = served(gate, reading, gate.mirror.hands.take(lambda hand: waits.set()))
    assert waits.wait(20)
    write(gate, b"3", BAD)  # the disk uses another sector for it
    task.result(20)
    assert read(gate, BAD) == b"3"


def test_a_bad_place_is_read_elsewhere_and_rewritten(
    gates: Callable[[int], InProcessGate],
) -> None:
    gate = gates(2)
    gate.storages.bad_places[1] = {BAD}
    assert read(gate, BAD) == b"1"
    assert not gate.storages.bad_places[1]
    assert states(gate) == {1: "in-sync", 2: "in-sync"}
    assert [each.outcome for each in gate.mirror.incidents.open] == ["rewritten"]


def test_one_that_cannot_be_rewritten_fails_its_leg(
    gates: Callable[[int], InProcessGate],
) -> None:
    gate = gates(2)
    gate.storages.bad_places[1] = {BAD}
    gate.storages.not_writable.add((1, BAD))
    assert read(gate, BAD) == b"1"
    assert 1 not in gate.mirror.roster.present
    assert read(gate, BAD) == b"1"


def test_the_same_place_bad_on_both(gates: Callable[[int], InProcessGate]) -> None:
    gate = gates(2)
    gate.storages.bad_places = {1: {BAD}, 2: {BAD}}
    task = LegTask(gate.mirror.hands, lambda hand: reading(gate, hand))
    with pytest.raises(HoldExpired):
        task.result(20)
    assert states(gate) == {1: "in-sync", 2: "in-sync"}
    write(gate, b"4", BAD)
    assert read(gate, BAD) == b"4"


def test_a_resynchronisation_leaves_it_for_the_end(
    gates: Callable[[int], InProcessGate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.gate.repair.resync.BAD_PLACE_SECONDS", 0.01)
    gate = gates(1)
    write(gate, b"7", 7 << 20)
    gate.storages.bad_places[1] = {BAD}
    gate.run(lambda hand: gate.changes.add(hand, f"file:{gate.image(2)}"))
    deadline = monotonic() + 20
    while on_leg(gate, 2, 7 << 20) != b"7":
        assert monotonic() < deadline
    assert states(gate)[2] == "resyncing"
    write(gate, b"5", BAD)
    gate.finish_resyncs()
    assert states(gate) == {1: "in-sync", 2: "in-sync"}
    assert on_leg(gate, 2, BAD) == b"5"


@pytest.mark.parametrize(("place", "filled"), [(8192, True), (BAD, False)])
def test_beside_a_leg_that_is_being_filled(
    gates: Callable[[int], InProcessGate], place: int, filled: bool
) -> None:
    """What has been filled already is read there; what has not fails alone."""
    gate = gates(1)
    write(gate, b"8", 8192)
    gate.slow = True
    gate.die()
    gate.start()
    gate.run(lambda hand: gate.changes.add(hand, f"file:{gate.image(2)}"))
    wait_until(lambda: not gate.recovery.resyncs[2].missing.issuperset({0}))
    gate.mirror.hold.set_timeout(0.2)
    gate.storages.bad_places[1] = {place}
    if filled:
        assert read(gate, place) == b"8"
        assert not gate.storages.bad_places[1]
    else:
        with pytest.raises(HoldExpired):
            read(gate, place)
        assert read(gate, 8192) == b"8"
    assert states(gate) == {1: "in-sync", 2: "resyncing"}


def test_a_lost_leg_is_no_bad_place(gates: Callable[[int], InProcessGate]) -> None:
    gate = gates(2)
    everything = set(range(0, SIZE + (1 << 20), 4096))
    gate.storages.bad_places[1] = everything
    assert read(gate, BAD) == b"1"
    assert 1 not in gate.mirror.roster.present


def test_a_storage_that_comes_and_goes_does_not_move_the_deadline_of_a_request(
    tmp_path: Path,
) -> None:
    """Every time a flush fails, the leg is lost, found, and lost again."""
    gate = InProcessGate(tmp_path, SIZE, 1, JournalMode.NONE)
    gate.start()
    gate.mirror.hold.set_timeout(0.4)
    stop, losses = threading.Event(), 0

    def flap() -> None:
        nonlocal losses
        while not stop.wait(0.02):
            gate.tend()
            if not gate.mirror.roster.readers:
                losses += 1
                gate.bring_back(gate.mirror.roster.entry(1))

    gate.storages.flush_fails = True
    flapping = threading.Thread(target=flap)
    flapping.start()
    try:
        task = LegTask(gate.mirror.hands, gate.mirror.flush)
        with pytest.raises(HoldExpired):
            task.result(20)
    finally:
        gate.storages.flush_fails = False
        stop.set()
        flapping.join()
        gate.die()
    assert losses > 2


def test_a_bad_place_in_the_bitmap_means_all_regions(tmp_path: Path) -> None:
    gate = InProcessGate(tmp_path, SIZE, 2, JournalMode.NONE)
    gate.start()
    write(gate, b"1", BAD)
    leg = gate.mirror.roster.readers[0]
    tail = bitmap_offset(leg.container_bytes, leg.size_bytes)
    gate.die()
    gate.storages.bad_places[1] = {tail}
    gate.start()
    assert not gate.storages.bad_places[1]  # all bits were set, and written
    gate.finish_resyncs()
    assert states(gate) == {1: "in-sync", 2: "in-sync"}
    assert on_leg(gate, 2, BAD) == b"1"
    gate.die()


@pytest.mark.parametrize("slot", [0, 1])
def test_a_bad_place_in_a_superblock(
    tmp_path: Path, slot: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the newer one unreadable, the older one counts as an older copy of the leg does."""
    gate = InProcessGate(tmp_path, SIZE, 1, JournalMode.UNFLUSHED)
    gate.start()
    write(gate, b"1", BAD, flush=True)
    gate.run(gate.recovery.upkeep.checkpoint)
    write(gate, b"2", BAD, flush=True)
    gate.run(gate.recovery.upkeep.checkpoint)
    gate.die()
    bad = True
    really_read = superblock._read_slot

    def read_slot(descriptor: int, container_bytes: int, number: int) -> bytes:
        if bad and number == slot:
            raise OSError(errno.ENODATA, "bad sector")
        return really_read(descriptor, container_bytes, number)

    monkeypatch.setattr(superblock, "_read_slot", read_slot)
    gate.start()
    assert read(gate, BAD) == b"2"
    bad = False
    gate.close_cleanly()
    gate.start()
    assert read(gate, BAD) == b"2"
    gate.die()
