"""A volume grows while it is written to: no write is without a bit, wherever the process dies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.gate.data.task import LegTask
from holdfast.gate.data.write_intent.bitmap import Bitmap
from holdfast.gate.runtime.claims import Hand
from holdfast.model.volume import JournalMode
from tests.unit.gate.blocks import block_of, on_leg, read, states, write
from tests.unit.gate.gate_in_process import InProcessGate, KilledError

SIZE = 4 << 20
PLACE = 2 << 20


def growth(gate: InProcessGate) -> Callable[[Hand], None]:
    return lambda hand: gate.changes.resize(hand, 2 * SIZE)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_write_that_waits_for_the_growth_marks_the_new_bitmap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = InProcessGate(tmp_path, SIZE, 2, JournalMode.NONE)
    gate.start()
    mirror = gate.mirror
    really_resized, really_intend = mirror.intent.bitmap.resized, mirror.intent.intend
    intending, intended = threading.Event(), threading.Event()
    writers = []

    def resized(size_bytes: int) -> Bitmap:
        view = block_of(b"N")
        writers.append(LegTask(mirror.hands, lambda hand: mirror.write(hand, view, PLACE)))
        assert intending.wait(20)
        return really_resized(size_bytes)

    def intend(hand: Hand, offset: int, length: int) -> None:
        intending.set()
        really_intend(hand, offset, length)
        intended.set()

    monkeypatch.setattr(mirror.intent.bitmap, "resized", resized)
    monkeypatch.setattr(mirror.intent, "intend", intend)
    gate.run(growth(gate))
    writers[0].result(20)
    assert intended.is_set()
    assert mirror.intent.bitmap.dirty() == [PLACE >> 20]
    gate.die()
    gate.start()
    assert states(gate) == {1: "in-sync", 2: "in-sync"} or gate.recovery.resyncs
    gate.die()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("successor", ["takes over", "starts"])
def test_a_death_in_the_middle_of_a_growth(tmp_path: Path, successor: str) -> None:
    """At every call: the volume works at its old or its new size, and can grow again."""
    for call in range(40):
        folder = tmp_path / str(call)
        folder.mkdir()
        gate = InProcessGate(folder, SIZE, 2, JournalMode.NONE)
        gate.start()
        write(gate, b"1", PLACE)
        gate.storages.calls_to_live = call
        died = False
        try:
            gate.run(growth(gate))
        except KilledError:
            died = True
        gate.die()
        gate.storages.calls_to_live = None
        if successor == "takes over":
            gate.take_over()
        else:
            gate.start()
        gate.finish_resyncs()
        for number in (1, 2):
            if number not in gate.mirror.roster.present:
                gate.bring_back(gate.mirror.roster.entry(number))
                gate.finish_resyncs()
        assert states(gate) == {1: "in-sync", 2: "in-sync"}
        assert gate.mirror.size_bytes in (SIZE, 2 * SIZE)
        assert read(gate, PLACE) == b"1"
        gate.run(growth(gate))
        write(gate, b"2", SIZE + PLACE)
        gate.close_cleanly()
        gate.start()
        assert gate.mirror.size_bytes == 2 * SIZE
        assert on_leg(gate, 1, SIZE + PLACE) == on_leg(gate, 2, SIZE + PLACE) == b"2"
        gate.die()
        if not died:
            return
    pytest.fail("a growth makes more calls to legs than expected")
