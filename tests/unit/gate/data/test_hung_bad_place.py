"""A request that waits for a bad place is given up, because its leg hangs at it now: another thread
has the request then, and what is told of it is told once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.gate.data.bad_places import STRATEGY
from holdfast.gate.front.serving import FEWEST
from holdfast.gate.runtime.incidents import Incident
from tests.plugs.gate import BLOCK, MemoryGate, written_gate
from tests.plugs.memory_front import Asked
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("memory_kind")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[MemoryGate]:
    with written_gate(tmp_path, 1) as gate:
        yield gate


def given_up_at_a_bad_place(gate: MemoryGate) -> Asked:
    """A read that waited for its place, whose leg hangs then."""
    gate.medium(1).bad_place = 0
    asked = gate.kernel.read(0, BLOCK)
    wait_until(lambda: any(story.steps for story in stories(gate)))
    gate.medium(1).answers.clear()
    assert gate.medium(1).hanging.acquire(timeout=20)
    gate.medium(1).bad_place = None
    gate.give_up_hanging(1)
    return asked


def stories(gate: MemoryGate) -> list[Incident]:
    return [each for each in gate.mirror.incidents.open if each.strategy == STRATEGY]


@pytest.mark.parametrize("answers", [True, False], ids=["", "for ever"])
def test_no_error_is_told_that_nobody_got(gate: MemoryGate, answers: bool) -> None:
    asked = given_up_at_a_bad_place(gate)
    if answers:
        gate.medium(1).answers.set()
        wait_until(lambda: not any(hand.given_up for hand in gate.mirror.hands.all()))
    (story,) = stories(gate)
    assert story.resolved_ns
    assert not story.errors_returned
    gate.medium(1).answers.set()
    wait_until(lambda: not any(hand.given_up for hand in gate.mirror.hands.all()))
    gate.bring_back(1)
    asked.result()
    assert not story.errors_returned


def test_as_many_threads_serve_afterwards_as_before(gate: MemoryGate) -> None:
    asked = given_up_at_a_bad_place(gate)
    gate.medium(1).answers.set()
    wait_until(lambda: not any(hand.given_up for hand in gate.mirror.hands.all()))
    gate.bring_back(1)
    asked.result()
    wait_until(lambda: len(gate.server.threads) <= FEWEST)
