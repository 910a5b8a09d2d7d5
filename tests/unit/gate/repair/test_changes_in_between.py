"""What happens to the roster between the two halves of a change: nothing of it is taken back.

A change is decided with what was known when it began; legs fail, and positions are recorded, while
it is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from time import monotonic_ns
from typing import Any

import pytest

from holdfast.errors import InvalidOption
from holdfast.gate.processes.control.request import parse
from holdfast.gate.repair.changes import ELSEWHERE
from holdfast.gate.runtime.claims import Hand
from holdfast.model.size import MAXIMUM_VOLUME_BYTES
from holdfast.model.volume import JournalMode
from tests.unit.gate.blocks import states, write
from tests.unit.gate.gate_in_process import PATIENCE_SECONDS, InProcessGate

SIZE = 4 << 20


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    gate = InProcessGate(tmp_path, SIZE, 2, JournalMode.UNFLUSHED)
    gate.start()
    yield gate
    gate.die()


def during_the_look(gate: InProcessGate, act: Callable[[Hand], None]) -> None:
    """Do something while a change looks at a container, which may take as long as storage likes."""
    examine = gate.changes._examine

    def slow(hand: Hand, url: str) -> Any:
        act(hand)
        return examine(hand, url)

    gate.changes._examine = slow  # type: ignore[method-assign]


def add_spare(gate: InProcessGate, name: str = "spare") -> None:
    gate.run(lambda hand: gate.changes.add_spare(hand, f"file:{gate.directory / name}"))


def test_a_position_that_is_recorded_stays(gate: InProcessGate) -> None:
    """The journal is emptied up to it: legs that say less could not be started from."""
    write(gate, b"1", 0, flush=True)
    during_the_look(gate, lambda hand: gate.recovery.upkeep.checkpoint(hand, flush=True))
    before = gate.mirror.roster.configuration.recorded_position
    add_spare(gate)
    assert gate.mirror.roster.configuration.recorded_position > before
    assert gate.mirror.roster.durable.recorded_position >= gate.mirror.log.kept[0]  # type: ignore[index]


def test_a_leg_that_fails_has_failed(gate: InProcessGate) -> None:
    leg = gate.mirror.roster.readers[1]
    during_the_look(gate, lambda hand: gate.mirror.roster.fail(leg, "gone"))
    add_spare(gate)
    assert states(gate) == {1: "in-sync", 2: "failed"}


def test_one_spare_for_one_leg(gate: InProcessGate) -> None:
    """However often somebody looks before it has joined."""
    add_spare(gate, "3.img")
    add_spare(gate, "4.img")
    go_on = Event()
    during_the_look(gate, lambda hand: bool(go_on.wait(PATIENCE_SECONDS)))
    gate.mirror.roster.fail(gate.mirror.roster.readers[1], "gone")
    for _ in range(3):
        gate.replacing.tick()
    assert gate.mirror.roster.configuration.spare_urls == (f"file:{gate.directory / '4.img'}",)
    go_on.set()
    taking = gate.replacing.taking
    assert taking is not None
    taking[0].result(PATIENCE_SECONDS)
    gate.finish_resyncs()
    assert states(gate)[3] == "in-sync"


def test_a_spare_that_hangs_is_not_used_up_in_silence(gate: InProcessGate) -> None:
    add_spare(gate, "3.img")
    inside, go_on = Event(), Event()

    def hang(hand: Hand) -> None:
        with hand.inside(ELSEWHERE):
            inside.set()
            go_on.wait(PATIENCE_SECONDS)

    during_the_look(gate, hang)
    gate.mirror.roster.fail(gate.mirror.roster.readers[1], "gone")
    gate.replacing.tick()
    assert inside.wait(PATIENCE_SECONDS)
    taking = gate.replacing.taking
    assert taking is not None
    assert taking[0].hand.give_up(monotonic_ns()) == ELSEWHERE  # as the watchdog does
    try:
        gate.replacing.tick()
        told = [each for each in gate.mirror.incidents.open if each.strategy == "replacement"]
        assert [each.cause for each in told] == [f"spare file:{gate.directory / '3.img'}"]
    finally:
        go_on.set()
        taking[0].join(PATIENCE_SECONDS)


def test_a_leg_whose_copy_hangs_can_be_removed(gate: InProcessGate) -> None:
    """The thread that copies may never come back from there; nobody waits for it."""
    inside, go_on = Event(), Event()
    burn = gate.storages.burn

    def hang(number: int, offset: int = 0, length: int = 0, *, writing: bool = False) -> None:
        if number == 3 and writing:
            inside.set()
            go_on.wait(PATIENCE_SECONDS)
        burn(number, offset, length, writing=writing)

    write(gate, b"1", 0)
    gate.storages.burn = hang  # type: ignore[method-assign]
    gate.run(lambda hand: gate.changes.add(hand, f"file:{gate.image(3)}"))
    assert inside.wait(PATIENCE_SECONDS)
    resync = gate.recovery.resyncs[3]
    assert resync.hand.give_up(monotonic_ns()) == 3  # as the watchdog does
    gate.mirror.give_up(resync.hand, 3, 5.0)
    try:
        assert resync.is_alive()
        gate.run(lambda hand: gate.changes.remove(hand, "3"))
        gate.tend()
        assert 3 not in gate.recovery.resyncs
    finally:
        go_on.set()
    assert states(gate) == {1: "in-sync", 2: "in-sync"}


def test_no_volume_grows_beyond_what_a_superblock_may_say() -> None:
    """It could never be started again."""
    parse(b'{"verb": "resize", "size_bytes": %d}' % MAXIMUM_VOLUME_BYTES)
    with pytest.raises(InvalidOption):
        parse(b'{"verb": "resize", "size_bytes": %d}' % (MAXIMUM_VOLUME_BYTES + 4096))
