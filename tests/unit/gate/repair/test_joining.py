"""A leg joins: all or nothing, and a receipt says which."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.errors import NoSource
from holdfast.gate.front.front_end import FLUSH
from holdfast.gate.repair.resync import Resync
from holdfast.gate.runtime.claims import Hand
from tests.plugs.gate import BLOCK, MemoryGate, written_gate
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("memory_kind")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[MemoryGate]:
    with written_gate(tmp_path, 2) as gate:
        gate.medium(1).broken = True
        gate.kernel.write(0, b"h" * BLOCK).result()
        gate.medium(1).broken = False
        yield gate


def open_stories(gate: MemoryGate) -> list[str]:
    """What has no receipt yet."""
    return [each.strategy for each in gate.mirror.incidents.open if not each.resolved_ns]


def test_one_that_is_gone_again_leaves_no_open_story(gate: MemoryGate) -> None:
    """It goes while its bitmap is read."""
    roster, recovery = gate.mirror.roster, gate.recovery
    for leg in roster.retired.take():
        leg.close()
    entry = roster.entry(1)

    def join_what_is_gone(hand: Hand) -> None:
        leg, _ = recovery.open(hand, entry)
        gate.medium(1).error = errno.ENXIO
        gate.medium(1).broken = True
        try:
            recovery.join(hand, leg, entry, first_region=None)
        finally:
            leg.discard()

    before = open_stories(gate)
    with pytest.raises(OSError, match="broken"):
        gate.run(join_what_is_gone)
    assert open_stories(gate) == before


def test_one_joins_only_where_a_source_is(gate: MemoryGate) -> None:
    """The last one went after it was looked for: who was never told must not be a member."""
    roster, recovery = gate.mirror.roster, gate.recovery
    for leg in roster.retired.take():
        leg.close()
    entry = roster.entry(1)

    def join_too_late(hand: Hand) -> None:
        leg, _ = recovery.open(hand, entry)
        roster.fail(roster.present[2], "just now")
        try:
            recovery.join(hand, leg, entry)
        finally:
            leg.discard()

    with pytest.raises(NoSource):
        gate.run(join_too_late)
    assert not roster.present
    assert not gate.medium(1).locked
    assert "resync" not in open_stories(gate)


@contextmanager
def almost_filled(gate: MemoryGate) -> Iterator[Resync]:
    """Leg 1 has joined, and a write to the region that it lacks keeps it from being filled."""
    hand = gate.mirror.hands.take()
    gate.mirror.ranges.enter(hand, 0, BLOCK)
    gate.bring_back(1)
    resync = gate.recovery.resyncs[1]
    yield resync
    gate.mirror.ranges.leave(hand)
    gate.mirror.hands.put_back(hand)
    wait_until(lambda: not resync.is_alive())


def test_one_that_is_refused_at_its_end_is_not_said_to_be_in_sync(gate: MemoryGate) -> None:
    """Another host takes the volume while it is filled."""
    with almost_filled(gate) as resync:
        gate.coordinator.taken(1000)
    assert gate.mirror.roster.superseded
    gate.recovery.tick()
    assert resync.incident.outcome.startswith("abandoned")
    gate.kill_worker()
    assert not gate.mirror.roster.present


@pytest.mark.parametrize("killed", [False, True], ids=["", "killed"])
def test_nobody_is_answered_before_its_end_is_agreed_to(gate: MemoryGate, killed: bool) -> None:
    """The coordinator cannot be reached when it becomes a source."""
    with almost_filled(gate):
        gate.coordinator.broken = True
    asked = gate.kernel.ask(FLUSH)
    wait_until(lambda: gate.mirror.reflexes.unremembered)
    assert not asked.answered.is_set()
    if killed:
        gate.kill_worker()
        assert not asked.answered.is_set()
    gate.coordinator.broken = False
    gate.run(gate.recovery.upkeep.checkpoint)
    asked.result()
    wait_until(lambda: gate.states() == {1: "in-sync", 2: "in-sync"})
