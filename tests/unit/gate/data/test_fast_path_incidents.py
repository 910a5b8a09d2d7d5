"""Compiled code serves on while something lasts that holds nobody: a leg is filled, a takeover."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from holdfast.gate.runtime import shared_page
from holdfast.model.volume import JournalMode
from tests.plugs.file_gate import FileGate, file_gate
from tests.plugs.gate import SIZE
from tests.waiting import wait_until

PAGE = 4096
REQUESTS = 2000


def served_by_compiled_code(gate: FileGate) -> int:
    """Nanoseconds of requests that it has answered."""
    return sum(hand.cells[shared_page.SERVED_NS] for hand in gate.mirror.hands.all())


def random_requests(gate: FileGate, volume: bytearray, offsets: range, seed: int) -> None:
    """Reads and writes of pages there, with what `volume` says is to be found."""
    chance = random.Random(seed)
    for number in range(REQUESTS):
        at = chance.choice(offsets)
        if chance.random() < 0.5:
            volume[at : at + PAGE] = bytes([number % 251]) * PAGE
            gate.wire.write(at, bytes(volume[at : at + PAGE])).result()
        else:
            assert gate.wire.read(at, PAGE).result() == volume[at : at + PAGE]


@pytest.mark.parametrize("journal", list(JournalMode))
def test_while_a_leg_is_filled(tmp_path: Path, journal: JournalMode) -> None:
    """It gets every write, and whoever copies is not overtaken."""
    volume, pages = bytearray(SIZE), range(0, SIZE, PAGE)
    with file_gate(tmp_path, 2, journal) as gate:
        random_requests(gate, volume, pages, 1)
        gate.mirror.roster.fail(gate.mirror.roster.present[2], "a test")
        random_requests(gate, volume, pages, 2)
        gate.close_incidents()
        hand = gate.mirror.hands.take()
        gate.mirror.ranges.enter(hand, 0, PAGE)  # so that the copy of its region has to wait
        gate.bring_back(2)
        assert [each.strategy for each in gate.incidents.open] == ["resync"]
        before = served_by_compiled_code(gate)
        random_requests(gate, volume, pages[1:], 3)
        assert served_by_compiled_code(gate) > before
        assert gate.states()[2] == "resyncing"
        gate.mirror.ranges.leave(hand)
        gate.mirror.hands.put_back(hand)
        random_requests(gate, volume, pages, 4)
        wait_until(lambda: gate.states()[2] == "in-sync")
        gate.wire.flush().result()
        gate.await_idle()
        assert gate.data(1) == gate.data(2) == volume
        (receipt,) = gate.close_incidents()
        assert (receipt.strategy, receipt.requests_held) == ("resync", 0)


def test_after_a_takeover_only_what_was_sent_again_is_noted(tmp_path: Path) -> None:
    with file_gate(tmp_path, 1) as gate:
        gate.incidents.begin("takeover", "a test")
        before = served_by_compiled_code(gate)
        for _ in range(8):  # whoever waits for a request as it begins serves that one by Python
            gate.wire.write(0, b"a" * PAGE).result()
            gate.await_idle()
        assert served_by_compiled_code(gate) > before
        gate.wire.write(0, b"b" * PAGE, resent=True).result()
        (receipt,) = gate.close_incidents()
        assert (receipt.requests_held, gate.counters().resent) == (1, 1)
        assert gate.data(1)[:PAGE] == b"b" * PAGE


def test_what_a_takeover_becomes_is_noted(tmp_path: Path) -> None:
    with file_gate(tmp_path, 2) as gate:
        gate.incidents.begin("takeover", "a test")
        gate.wire.write(0, b"a" * PAGE).result()
        gate.await_idle()
        gate.mirror.roster.fail(gate.mirror.roster.present[2], "a test")
        gate.wire.write(0, b"b" * PAGE).result()
        (receipt,) = gate.close_incidents()
        assert (receipt.strategy, receipt.requests_held) == ("failover", 1)
