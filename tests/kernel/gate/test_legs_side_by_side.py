"""A request is inside all legs at once where that is faster, and each of them fails by itself."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.gate.runtime import shared_page
from holdfast.model.volume import JournalMode
from tests.plugs.fuse_gate import FuseGate, fuse_gate
from tests.waiting import wait_until

PAGE = 4096
MANY = 2000
"""Requests after which a gate has found out how slow its legs are."""


@pytest.fixture(params=[JournalMode.NONE, JournalMode.UNFLUSHED])
def gate(ram_directory: Path, request: pytest.FixtureRequest) -> Iterator[FuseGate]:
    """Two legs on slow storage, which the gate knows already."""
    with fuse_gate(ram_directory / "gate", 2, (1, 2), request.param) as made:
        learn(made)
        yield made


def learn(gate: FuseGate) -> None:
    """Let every serving thread find that its legs are slow, and waking is not."""
    pool = gate.server.fast.pool
    for _ in range(MANY):
        gate.believe_slow()
        asked = [gate.wire.write(number * PAGE, b"a" * PAGE) for number in range(4)]
        for each in [*asked, gate.wire.flush(), gate.wire.flush()]:
            each.result()
        if len(pool.by_hand) == len(gate.server.threads):
            break
    else:
        raise AssertionError("somebody has no partner")
    gate.await_idle()
    gate.believe_slow()


def come_back(gate: FuseGate, number: int) -> None:
    """A leg that failed is in sync again, and all is as it was after `learn`."""
    gate.close_incidents()
    gate.bring_back(number)
    wait_until(lambda: gate.states()[number] == "in-sync")
    gate.close_incidents()
    learn(gate)


def begin(gate: FuseGate, what: str, letter: bytes) -> object:
    """A request of which all legs hang, and that is inside both."""
    for leg in gate.fuse.values():
        leg.hang(on=(what,))
    asked = gate.wire.flush() if what == "flush" else gate.wire.write(0, letter * PAGE)
    for leg in gate.fuse.values():
        wait_until(lambda: leg.waiting() == 1)  # noqa: B023
    return asked


def test_only_slow_legs_are_worth_waking_somebody(ram_directory: Path) -> None:
    with fuse_gate(ram_directory / "memory", 2, ()) as gate:
        for number in range(200):
            gate.wire.write(number % 8 * PAGE, b"a" * PAGE).result()
            gate.wire.flush().result()
        assert not gate.server.fast.pool.by_hand
    with fuse_gate(ram_directory / "gate", 2, (1, 2)) as gate:
        for _ in range(8):
            for leg in gate.fuse.values():
                leg.hang(on=("flush",))
            asked = gate.wire.flush()
            for leg in gate.fuse.values():
                wait_until(lambda: leg.waiting() == 1)  # noqa: B023
                leg.serve_kept()
            asked.result()
        assert gate.server.fast.pool.by_hand


@pytest.mark.parametrize("what", ["write", "flush"])
def test_it_is_inside_both_at_once(gate: FuseGate, what: str) -> None:
    asked = begin(gate, what, b"b")
    assert gate.counters().in_flight == 1
    gate.fuse[1].serve_kept()
    assert not asked.answered.wait(0.1), "one leg has not answered"
    gate.fuse[2].serve_kept()
    asked.result()
    gate.await_idle()
    assert gate.data(1) == gate.data(2)


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("what", ["write", "flush"])
def test_one_hangs_and_the_other_goes_on(gate: FuseGate, what: str, first: int) -> None:
    """What hangs is late, and lands nowhere else."""
    other = 3 - first
    asked = begin(gate, what, b"b")
    gate.fuse[other].serve_kept()
    stuck = gate.give_up(first)
    assert len(stuck) == 1
    asked.result()
    for letter in (b"c", b"d"):
        gate.wire.write(0, letter * PAGE).result()
    gate.wire.flush().result()
    gate.fuse[first].serve_kept()
    wait_until(lambda: not set(stuck) & set(gate.mirror.hands.all()), "its thread ends")
    assert gate.data(other)[:PAGE] == b"d" * PAGE
    assert gate.states()[first] == "failed"


@pytest.mark.parametrize("first", [1, 2])
def test_a_successor_waits_for_who_is_inside_the_other_leg(gate: FuseGate, first: int) -> None:
    """Else what that one has still to write would land over what was written later."""
    other = 3 - first
    asked = begin(gate, "write", b"b")
    gate.give_up(first)
    if other == 2:
        assert not asked.answered.wait(0.3)
        assert gate.fuse[2].waiting() == 1, "nobody else may be inside with an old write"
    else:
        assert not asked.answered.wait(0.1)
    gate.fuse[other].serve_kept()
    asked.result()
    gate.wire.write(0, b"c" * PAGE).result()
    assert gate.data(other)[:PAGE] == b"c" * PAGE


def test_a_log_keeps_what_is_inside_a_leg(ram_directory: Path) -> None:
    """A flush that begins meanwhile does not make it superfluous, though one of the two is done."""
    with fuse_gate(ram_directory / "gate", 2, (1, 2), JournalMode.UNFLUSHED) as gate:
        learn(gate)
        gate.wire.flush().result()
        ring = gate.mirror.log.ring
        assert ring is not None
        before = ring.end
        asked = begin(gate, "write", b"b")
        for first in (1, 2):
            stable = gate.mirror.log.stable_position(0)
            assert stable == before, f"leg {3 - first} has not answered"
            gate.fuse[first].serve_kept()
        asked.result()
        gate.await_idle()
        assert gate.mirror.log.stable_position(0) == ring.end > before


def test_a_flush_that_failed_beside_one_that_hangs_is_known_at_once(gate: FuseGate) -> None:
    for first in (1, 2):
        other = 3 - first
        begin(gate, "flush", b"")
        gate.fuse[other].serve_kept({"kind": "error", "errno": errno.EIO, "on": ["flush"]})
        wait_until(lambda: gate.states()[other] == "failed")  # noqa: B023
        gate.fuse[first].serve()
        wait_until(lambda: not gate.wire.unanswered)
        come_back(gate, other)


@pytest.mark.parametrize("given_up", [False, True])
def test_nobody_flushes_a_leg_again_while_a_partner_does(gate: FuseGate, given_up: bool) -> None:
    """Of two flushes the kernel tells one of an error: the other one was believed."""
    asked = begin(gate, "flush", b"")
    failed = {"kind": "error", "errno": errno.EIO, "on": ["flush"]}
    if given_up:
        gate.give_up(1)
    else:
        gate.fuse[1].serve_kept(failed)
        wait_until(lambda: gate.states()[1] == "failed")
    assert not asked.answered.wait(0.3)
    assert len(gate.inside(2)) == 1
    gate.fuse[2].serve_kept(failed)
    wait_until(lambda: not gate.mirror.roster.readers)
    assert not asked.answered.is_set()
    for leg in gate.fuse.values():
        leg.serve()
    gate.bring_back(2)
    gate.mirror.reflexes.storage_back("a test")
    asked.result()


@pytest.mark.parametrize("what", ["write", "flush"])
def test_both_fail_at_once(gate: FuseGate, what: str) -> None:
    """The volume is held until one is back."""
    asked = begin(gate, what, b"b")
    lost = {"kind": "error", "errno": errno.ENOTCONN, "on": ["write", "flush", "read"]}
    for leg in gate.fuse.values():
        leg.stop()
    for leg in gate.fuse.values():
        leg.resume()
        leg.serve_kept(lost, then=lost)
    wait_until(lambda: not gate.mirror.roster.readers)
    assert not asked.answered.is_set()
    assert gate.counters().in_flight == 1
    for leg in gate.fuse.values():
        leg.serve()
    for number in (1, 2):
        gate.bring_back(number)
    gate.mirror.reflexes.storage_back("a test")
    asked.result()
    gate.await_idle()
    done = gate.counters()
    assert done.in_flight == done.errors_returned == 0


def test_partners_end_with_their_serving_threads(gate: FuseGate) -> None:
    pool = gate.server.fast.pool
    partners = list(pool.by_hand.values())
    asked = begin(gate, "flush", b"")
    gate.fuse[2].serve_kept()
    gate.give_up(1)
    asked.result()
    gate.fuse[1].serve_kept()
    for _ in range(8):  # each of those that are left learns that there is one leg
        asked = [gate.wire.read(0, PAGE) for _ in range(8)]
        for each in asked:
            each.result()
    gate.close_incidents()

    def gone() -> bool:
        gate.wire.read(0, PAGE).result()
        return not any(partner.is_alive() for partner in partners)

    wait_until(gone)
    assert not [hand for hand in gate.mirror.hands.all() if hand.cells[shared_page.HELPS]]
