"""After a crash every leg that was in sync stays a source, and what was read is read ever after."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.model.volume import JournalMode
from tests.unit.gate.blocks import on_leg, read, states, write
from tests.unit.gate.gate_in_process import InProcessGate, KilledError

SIZE = 8 << 20
IN_DOUBT = 3 << 20
"""Here a write is under way when everything ends."""
BESIDE = IN_DOUBT + 4096


@pytest.fixture
def crashed(tmp_path: Path) -> Iterator[InProcessGate]:
    """Two legs, and a write of which the first one alone has got anything."""
    gate = InProcessGate(tmp_path, SIZE, 2, JournalMode.NONE)
    gate.start()
    write(gate, b"0", 0, flush=True)
    write(gate, b"a", BESIDE, flush=True)
    write(gate, b"1", IN_DOUBT, flush=True)
    gate.storages.calls_to_live = 1
    with pytest.raises(KilledError):
        write(gate, b"2", IN_DOUBT)
    gate.storages.calls_to_live = None
    gate.die()
    assert (on_leg(gate, 1, IN_DOUBT), on_leg(gate, 2, IN_DOUBT)) == (b"2", b"1")
    yield gate
    gate.storages.bad_places.clear()
    gate.die()


@pytest.fixture
def slowly(crashed: InProcessGate) -> None:
    """The first region is made equal at once, the next one days later."""
    crashed.slow = True


def lose_first(gate: InProcessGate) -> None:
    """Its disk is gone for good."""
    os.truncate(gate.image(1), 0)


def test_all_regions_are_made_equal(crashed: InProcessGate) -> None:
    crashed.start()
    crashed.finish_resyncs()
    assert states(crashed) == {1: "in-sync", 2: "in-sync"}
    assert on_leg(crashed, 2, IN_DOUBT) == b"2"
    crashed.tend()
    assert "equal" in [each.outcome for each in crashed.mirror.incidents.open]


@pytest.mark.usefixtures("slowly")
def test_the_first_leg_dies_in_between(crashed: InProcessGate) -> None:
    """The other one has everything that was acknowledged: it goes on, and starts without force."""
    crashed.start()
    write(crashed, b"b", 5 << 20, flush=True)
    lose_first(crashed)
    assert read(crashed, BESIDE) == b"a"
    assert states(crashed) == {1: "failed", 2: "in-sync"}
    assert read(crashed, 5 << 20) == b"b"
    seen = read(crashed, IN_DOUBT)
    crashed.die()
    crashed.image(1).unlink()
    crashed.start()
    assert read(crashed, BESIDE) == b"a"
    assert read(crashed, IN_DOUBT) == seen


@pytest.mark.usefixtures("slowly")
@pytest.mark.parametrize("end", ["none", "takeover", "crash", "detach"])
def test_what_was_read_is_read_ever_after(crashed: InProcessGate, end: str) -> None:
    crashed.start()
    assert read(crashed, IN_DOUBT) == b"2"
    if end == "detach":
        crashed.close_cleanly()
        crashed.start()
    elif end != "none":
        crashed.die()
        crashed.take_over() if end == "takeover" else crashed.start()
    lose_first(crashed)
    assert read(crashed, IN_DOUBT) == b"2"
    assert states(crashed)[1] == "failed"


@pytest.mark.usefixtures("slowly")
@pytest.mark.parametrize("end", ["takeover", "detach"])
def test_what_was_not_reached_is_remembered(crashed: InProcessGate, end: str) -> None:
    """No idle bit is cleared meanwhile, and no clean end forgets them."""
    crashed.start()
    for _ in range(4):
        crashed.run(lambda hand: crashed.recovery.upkeep.checkpoint(hand, flush=True))
    if end == "detach":
        crashed.close_cleanly()
        crashed.start()
    else:
        crashed.die()
        crashed.take_over()
    assert read(crashed, IN_DOUBT) == b"2"
    assert on_leg(crashed, 2, IN_DOUBT) == b"2"


@pytest.mark.parametrize("place", [IN_DOUBT, BESIDE])
def test_a_bad_place_of_the_first_leg(crashed: InProcessGate, place: int) -> None:
    """It is read from the other one, which may be a source as well, and rewritten."""
    crashed.storages.bad_places[1] = {place}
    crashed.start()
    crashed.finish_resyncs()
    assert states(crashed) == {1: "in-sync", 2: "in-sync"}
    assert not crashed.storages.bad_places[1]
    assert read(crashed, BESIDE) == b"a"
    assert on_leg(crashed, 1, IN_DOUBT) == on_leg(crashed, 2, IN_DOUBT)


def test_a_place_that_none_can_read_keeps_nothing_else_away(crashed: InProcessGate) -> None:
    crashed.storages.bad_places = {1: {BESIDE}, 2: {BESIDE}}
    crashed.start()
    crashed.finish_resyncs()
    assert read(crashed, IN_DOUBT) == b"2"
    assert on_leg(crashed, 2, IN_DOUBT) == b"2"
    assert states(crashed) == {1: "in-sync", 2: "in-sync"}


def test_one_that_cannot_be_written_fails(crashed: InProcessGate) -> None:
    crashed.storages.unwritable.add((2, BESIDE))
    crashed.start()
    crashed.finish_resyncs()
    assert states(crashed) == {1: "in-sync", 2: "failed"}
    assert read(crashed, IN_DOUBT) == b"2"
