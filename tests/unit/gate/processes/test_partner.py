"""When a process of the pair counts as dead although it has not ended."""

from __future__ import annotations

import pytest

from holdfast.gate.processes import partner
from holdfast.gate.processes.partner import (
    LONGEST_LIMIT_SECONDS,
    PATIENCE_SECONDS,
    SHORTEST_LIMIT_SECONDS,
    Ending,
    Silence,
    judge_silence,
)
from holdfast.gate.runtime.watching import BEAT_SECONDS
from holdfast.system.processes.process_state import ProcessState


def state(letter: str) -> ProcessState:
    return ProcessState(1, "python", letter, 1, 1, False, False, 1)


@pytest.mark.parametrize(
    ("letter", "silent_seconds", "hang_timeout_seconds", "ending"),
    [
        ("T", SHORTEST_LIMIT_SECONDS - 0.1, 0.1, None),
        ("T", SHORTEST_LIMIT_SECONDS, 0.1, Ending.STOPPED),
        ("T", 4.9, 5.0, None),
        ("T", 5.0, 5.0, Ending.STOPPED),
        ("T", LONGEST_LIMIT_SECONDS, 600.0, Ending.STOPPED),
        ("t", 5.0, 5.0, Ending.TRACED),
        ("R", PATIENCE_SECONDS - 1, 5.0, None),
        ("R", PATIENCE_SECONDS, 5.0, Ending.SILENT),
        ("D", PATIENCE_SECONDS, 5.0, Ending.SILENT),
        ("S", 100.0, 60.0, None),
        ("S", 360.0, 60.0, Ending.SILENT),
    ],
)
def test_judgement(
    letter: str, silent_seconds: float, hang_timeout_seconds: float, ending: Ending | None
) -> None:
    assert judge_silence(state(letter), silent_seconds, hang_timeout_seconds) is ending


def test_one_that_was_moved_into_a_memory_limit_is_not_waited_for_that_long() -> None:
    assert judge_silence(state("D"), 5.0, 5.0) is None
    assert judge_silence(state("D"), 4.9, 5.0, starving=True) is None
    assert judge_silence(state("D"), 5.0, 5.0, starving=True) is Ending.SILENT


def test_one_that_is_gone_is_not_judged_by_its_silence() -> None:
    assert judge_silence(None, 1000.0, 5.0) is None


def test_silence_is_counted_in_rounds_of_the_observer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An observer that was stopped itself, or a clock that jumped, makes no silence."""
    cells = memoryview(bytearray(8)).cast("Q")
    now = 1000.0
    monkeypatch.setattr(partner, "monotonic", lambda: now)
    silence = Silence(cells, 0)
    assert silence.look() == 0.0
    now += 3600.0
    assert silence.look() == 2 * BEAT_SECONDS
    now += 0.25
    assert silence.look() == 2 * BEAT_SECONDS + 0.25
    cells[0] += 1
    assert silence.look() == 0.0
