"""Compiled code does what Python does: the same requests and faults through both."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from holdfast.gate.data import compiled, fast_path
from holdfast.gate.log.segment import Kind
from holdfast.gate.runtime import shared_page
from holdfast.model.receipt import Receipt
from holdfast.model.volume import JournalMode, LegState
from tests.plugs.file_gate import FileGate, file_gate
from tests.plugs.gate import SIZE
from tests.waiting import wait_until

PAGE = 4096
SECTOR = 512
LONGEST = 16 * PAGE
HISTORIES = 2 * 3 * len(JournalMode)
REQUESTS = (10**7 if os.environ.get("HOLDFAST_SOAK") else 10**5) // HISTORIES
"""Of one history."""

FAULTS_EVERY, BACK_AFTER = 1000, 200
"""Requests from one thing that happens to storage to the next, and until a leg comes back."""

REMINDED = 16
"""After so many requests it would find out that its legs are fast."""

INCIDENTS_CLOSE = 40
"""After so many requests."""


def test_there_is_compiled_code_and_it_serves(tmp_path: Path) -> None:
    assert compiled.COMPILED is not None, "no compiler, or an error of it: see what pip said"
    with file_gate(tmp_path, 1) as gate:
        gate.wire.write(PAGE, b"x" * PAGE).result()
        assert gate.wire.read(PAGE, PAGE).result() == b"x" * PAGE
        gate.wire.flush().result()
        assert gate.cells[shared_page.WRITTEN]
        found = gate.counters()
        assert (found.reads, found.writes, found.flushes) == (1, 1, 1)
        assert gate.data(1)[PAGE : 2 * PAGE] == b"x" * PAGE
        assert any(thread.compiled for thread in gate.server.threads.values())
        for offset in range(0, 16 * PAGE, PAGE):  # one of eight is timed
            gate.wire.write(offset, b"y" * PAGE).result()
        for offset in range(0, 16 * PAGE, PAGE):
            assert gate.wire.read(offset, PAGE).result() == b"y" * PAGE
        times = gate.mirror.times.of(1)
        assert times.keys() == {"short-write", "long-write", "flush", "read"}
        assert [sum(times[kind]) for kind in ("flush", "long-write")] == [1, 0]
        assert 1 <= sum(times["short-write"]) <= 4
        assert 1 <= sum(times["read"]) <= 4


@dataclass(frozen=True)
class Step:
    """What happens next."""

    what: str
    offset: int = 0
    length: int = 0
    filling: int = 0


def history(seed: int, legs: int) -> list[Step]:
    """Requests, most of them ordinary, and now and then something that happens to storage."""
    chance = random.Random(seed)
    faults = ["hold"] if legs == 1 else ["hold", "take away"]
    steps = []
    for number in range(REQUESTS):
        what = chance.choices(["read", "write", "flush", "zero"], [45, 45, 8, 2])[0]
        length = SECTOR * chance.randint(1, LONGEST // SECTOR) if chance.random() < 0.3 else PAGE
        unit = SECTOR if length % PAGE else PAGE
        offset = chance.randrange(0, SIZE - length + 1, unit)
        steps.append(Step(what, offset, length, number % 251))
        if number % FAULTS_EVERY == FAULTS_EVERY // 2:
            steps.append(Step(chance.choice(faults)))
        if number % FAULTS_EVERY == FAULTS_EVERY // 2 + BACK_AFTER:
            steps.append(Step("bring back"))
        if number in (REQUESTS - FAULTS_EVERY // 4, REQUESTS - FAULTS_EVERY // 8):
            steps.append(Step("truncate"))  # such a leg does not come back
    return steps


@dataclass(frozen=True)
class Seen:
    """Everything that anybody sees of a history."""

    answers: list[bytes | int]
    """Digests of what was read (there are gigabytes of it), errors as numbers."""
    contents: list[bytes]
    counters: dict[str, Any]
    states: dict[int, str]
    receipts: list[tuple[str, str, int, int]]
    """Strategy, cause, requests held, errors returned."""
    changed_by_replay: int
    """Records of the log that would change what a leg in sync holds, replayed in order."""


def run(gate: FileGate, steps: list[Step], *, side_by_side: bool = False) -> Seen:
    """Make the requests one after the other; `side_by_side`: each on all legs at once."""
    answers: list[bytes | int] = []
    receipts: list[Receipt] = []
    for number, step in enumerate(steps):
        gate.await_idle()  # a request is noted after it was answered
        if side_by_side and not number % REMINDED:
            gate.believe_slow()
        try:
            answers.append(blake2b(_step(gate, step), digest_size=16).digest())
        except OSError as error:
            answers.append(error.errno or 0)
        if not number % INCIDENTS_CLOSE:
            receipts += gate.close_incidents()
    receipts += gate.close_incidents()
    of_the_clock = {"longest_wait_ms": 0, "served_ms": 0, "keeper_pid": 0, "worker_pid": 0}
    found = vars(gate.counters()) | of_the_clock
    present = [leg.number for leg in gate.mirror.roster.readers]
    return Seen(
        answers,
        [gate.data(number) for number in present],
        found,
        gate.states(),
        [
            (
                each.strategy,
                each.cause.replace(str(gate.folder), ""),
                each.requests_held,
                each.errors_returned,
            )
            for each in receipts
        ],
        changed_by_replay(gate),
    )


def changed_by_replay(gate: FileGate) -> int:
    """Of what the log keeps, all of which the legs have."""
    ring = gate.mirror.log.ring
    if ring is None:
        return 0
    held = bytearray(gate.data(gate.mirror.roster.readers[0].number))
    after = bytearray(held)
    for record in ring.records(ring.begin):
        content = record.payload if record.kind is Kind.DATA else bytes(record.length)
        after[record.offset : record.offset + record.length] = content
    return sum(one != other for one, other in zip(held, after, strict=True))


def _step(gate: FileGate, step: Step) -> bytes:
    wire, payload = gate.wire, bytes([step.filling]) * step.length
    if step.what == "read":
        return wire.read(step.offset, step.length).result()
    if step.what == "write":
        return wire.write(step.offset, payload).result()
    if step.what == "flush":
        return wire.flush().result()
    if step.what == "zero":
        return wire.zero(step.offset, step.length).result()
    readers = gate.mirror.roster.readers
    if step.what == "hold":
        gate.mirror.hold.begin(None, "a test")
        asked = wire.read(0, PAGE)
        assert not asked.answered.wait(0.01)
        gate.mirror.hold.release()
        return asked.result()
    if len(readers) > 1 and step.what == "truncate":
        os.truncate(gate.image(readers[-1].number), SIZE // 2)
    elif len(readers) > 1 and step.what == "take away":
        readers[0].back_end.release()
    elif step.what == "bring back":
        for number, state in gate.states().items():
            if state == LegState.FAILED:
                gate.bring_back(number)
                wait_until(lambda: gate.states()[number] == LegState.IN_SYNC)  # noqa: B023
        wait_until(lambda: not _is_filled(gate), "its receipt is still open")
    return b""


def _is_filled(gate: FileGate) -> bool:
    return any(each.strategy == "resync" and not each.resolved_ns for each in gate.incidents.open)


@pytest.mark.parametrize("journal", list(JournalMode))
@pytest.mark.parametrize("legs", [1, 2, 3])
@pytest.mark.parametrize("how", ["measured", "side by side"])
def test_a_history_is_the_same_through_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legs: int, how: str, journal: JournalMode
) -> None:
    side_by_side = how == "side by side"
    steps = history(int(side_by_side), legs)
    with file_gate(tmp_path / "compiled", legs, journal) as gate:
        by_compiled = run(gate, steps, side_by_side=side_by_side)
    monkeypatch.setattr(fast_path, "COMPILED", None)
    with file_gate(tmp_path / "plain", legs, journal) as gate:
        by_python = run(gate, steps)
    assert by_compiled == by_python
    assert not by_python.changed_by_replay


def test_both_sides_mean_the_same_cells() -> None:
    assert compiled.COMPILED is not None
    assert compiled.COMPILED.PAGE_CELLS * 8 <= shared_page.SIZE_BYTES
