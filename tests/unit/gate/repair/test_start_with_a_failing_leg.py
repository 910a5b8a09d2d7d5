"""A leg that fails while a worker starts keeps no other leg from serving."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic_ns
from typing import Any, cast

import pytest

from holdfast.containers import BackEnd
from holdfast.errors import NoSource
from holdfast.gate.data.write_log.unflushed import Unflushed
from holdfast.gate.members.leg import Leg
from holdfast.model.volume import JournalMode
from tests.unit.gate.blocks import read, states, write
from tests.unit.gate.gate_in_process import InProcessGate


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    """Both processes were killed; the second write is in the journal, not flushed."""
    gate = InProcessGate(tmp_path, 4 << 20, 2, JournalMode.UNFLUSHED)
    gate.start()
    write(gate, b"1", 0, flush=True)
    write(gate, b"2", 0)
    gate.die()
    yield gate
    gate.die()


class Filter:
    """A device before each write of which something happens: a filter as a drill puts in front."""

    def __init__(self, device: BackEnd, before: Callable[[], None]) -> None:
        self._device = device
        self._before = before

    def write(self, view: memoryview, offset: int) -> None:
        self._before()
        self._device.write(view, offset)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


def filter_writes(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None]) -> None:
    """Call `before` with the number of each leg that is about to be written to."""
    use = Leg.use

    def use_filtered(leg: Leg, device: BackEnd) -> None:
        use(leg, cast(BackEnd, Filter(device, lambda: before(leg.number))))

    monkeypatch.setattr(Leg, "use", use_filtered)


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Numbers of legs whose disks have stopped to take writes."""
    legs: set[int] = set()

    def refuse(number: int) -> None:
        if number in legs:
            raise OSError(errno.EIO, "injected")

    filter_writes(monkeypatch, refuse)
    return legs


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("journal", [True, False])
def test_a_disk_that_takes_no_writes(
    gate: InProcessGate, read_only: set[int], number: int, *, journal: bool
) -> None:
    if not journal:  # nothing to replay, nothing to make equal
        gate.start()
        gate.finish_resyncs()
        gate.close_cleanly()
    read_only.add(number)
    gate.start()
    assert read(gate, 0) == b"2"
    write(gate, b"3", 0, flush=True)
    assert states(gate)[number] == "failed"
    read_only.clear()
    gate.tend()
    gate.bring_back(gate.mirror.roster.entry(number))
    gate.finish_resyncs()
    assert states(gate) == {1: "in-sync", 2: "in-sync"}


def test_none_takes_writes(gate: InProcessGate, read_only: set[int]) -> None:
    """Refused in words that name the legs, and nothing is lost by it."""
    read_only |= {1, 2}
    with pytest.raises(NoSource, match=r"1\.img.*injected.*2\.img.*injected"):
        gate.start()
    read_only.clear()
    gate.start()
    assert read(gate, 0) == b"2"


@pytest.mark.parametrize("number", [1, 2])
def test_a_bitmap_that_cannot_be_reached_at_a_takeover(
    gate: InProcessGate, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Its server went between the opening and this."""
    gate.start()
    gate.finish_resyncs()
    gate.die()
    read_bitmap = Leg.read_bitmap

    def lost(leg: Leg) -> bytes:
        if leg.number == number:
            raise OSError(errno.ENOTCONN, "the server is gone")
        return read_bitmap(leg)

    monkeypatch.setattr(Leg, "read_bitmap", lost)
    gate.take_over()
    assert read(gate, 0) == b"2"
    assert states(gate)[number] == "failed"


def test_records_are_really_replayed(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else these tests would show nothing."""
    replayed = []
    replay = Unflushed.replay

    def note(*arguments: object) -> int:
        replayed.append(replay(*arguments))  # type: ignore[arg-type]
        return replayed[-1]

    monkeypatch.setattr(Unflushed, "replay", note)
    gate.start()
    gate.finish_resyncs()
    assert len(replayed) == 2
    assert all(replayed)


@pytest.mark.parametrize("number", [1, 2])
def test_a_disk_that_hangs_at_the_first_write(
    gate: InProcessGate, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It could be opened and read; the watchdog gives its thread up."""
    inside, go_on = threading.Event(), threading.Event()

    def hang(which: int) -> None:
        if which == number:
            inside.set()
            go_on.wait(60)

    filter_writes(monkeypatch, hang)

    def watch() -> None:
        assert inside.wait(20)
        for hand in gate.mirror.hands.all():
            if hand.give_up(monotonic_ns(), inside=number):
                gate.mirror.give_up(hand, number, 5.0)

    watchdog = threading.Thread(target=watch)
    watchdog.start()
    try:
        gate.start()
        assert read(gate, 0) == b"2"
        assert states(gate)[number] == "failed"
    finally:
        go_on.set()
        watchdog.join(20)
