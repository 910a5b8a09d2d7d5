"""What `volume show` says of a leg that is not in use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.gate.processes.control.view import GateView
from holdfast.model.volume import LegState
from tests.plugs.gate import MemoryGate, written_gate

pytestmark = pytest.mark.usefixtures("memory_kind")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[MemoryGate]:
    with written_gate(tmp_path, 2) as gate:
        yield gate


def shown(gate: MemoryGate, number: int) -> tuple[str, str]:
    """The state of a leg, and the reason."""
    view = GateView(gate.mirror, gate.recovery.resyncs)
    (leg,) = (each for each in view.everything()["legs"] if each["number"] == number)
    return leg["state"], leg["reason"]


def test_one_to_be_filled_has_not_failed_before_anybody_looked(gate: MemoryGate) -> None:
    """A migration makes all legs but one this way; whoever waits for them gave up at once."""
    leg = gate.mirror.roster.present[1]
    gate.mirror.roster.fail(leg, "pulled out")
    assert shown(gate, 1) == ("failed", "pulled out")
    gate.mirror.roster.note(1, LegState.RESYNCING, "")
    assert shown(gate, 1) == ("resyncing", "")
    gate.recovery.probed({"probe": 1, "error": "No such file or directory"})
    assert shown(gate, 1) == ("failed", "No such file or directory")
