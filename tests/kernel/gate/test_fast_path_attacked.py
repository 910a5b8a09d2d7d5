"""Compiled code is given up, refused and held in the middle of a request: as Python is."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns
from typing import Any

import pytest

from holdfast.errors import Superseded
from holdfast.gate.runtime import shared_page
from tests.plugs.fuse_gate import FuseGate, fuse_gate
from tests.waiting import wait_until

PAGE = 4096
SHORT_WRITE = {"kind": "short", "on": ["write"]}
FAILED_WRITE = {"kind": "error", "errno": errno.EIO, "on": ["write"]}
FAILED_FLUSH = {"kind": "error", "errno": errno.EIO, "on": ["flush"]}


@pytest.fixture
def gate(ram_directory: Path) -> Iterator[FuseGate]:
    """Two legs, both of which can misbehave."""
    with fuse_gate(ram_directory / "gate", 2, (1, 2)) as made:
        made.wire.write(0, b"a" * 2 * PAGE).result()
        yield made


def hangs(gate: FuseGate, number: int, what: str, how_many: int = 1) -> None:
    """Wait until so many requests wait there."""
    wait_until(lambda: gate.fuse[number].waiting() == how_many, what)


def test_who_was_given_up_writes_nowhere_else(gate: FuseGate, ram_directory: Path) -> None:
    """The rest of a short write went to whoever had got the descriptor's number."""
    number = gate.mirror.roster.present[2].back_end.descriptor
    gate.fuse[2].hang(on=("write",))
    asked = gate.wire.write(0, b"S" * 2 * PAGE)
    hangs(gate, 2, "the write")
    stuck = gate.give_up(2)
    asked.result()
    victim = os.open(ram_directory / "victim", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        assert victim != number, "it is kept for as long as somebody may use it"
        os.truncate(victim, 4 * PAGE)
        gate.fuse[2].serve_kept(SHORT_WRITE)
        wait_until(lambda: not set(stuck) & set(gate.mirror.hands.all()), "its thread ends")
        assert os.pread(victim, 4 * PAGE, 0) == bytes(4 * PAGE)
    finally:
        os.close(victim)
    wait_until(gate.forget_retired, "it is given back when nobody may use it any more")


def test_a_failed_flush_is_known_at_once(gate: FuseGate) -> None:
    """Another leg hangs meanwhile: the successor was answered by the leg that had failed."""
    one, two = gate.fuse[1], gate.fuse[2]
    one.hang(on=("flush",))
    two.hang(on=("flush",))
    asked = gate.wire.flush()
    hangs(gate, 1, "the flush of leg 1")
    one.serve_kept()
    hangs(gate, 2, "the flush of leg 2")
    one.hang(on=("flush",))
    two.serve_kept(FAILED_FLUSH)
    hangs(gate, 1, "what follows from it")
    assert gate.states()[2] == "failed"
    gate.give_up_hanging(1)
    assert not asked.answered.wait(0.3), "by a leg whose flush had failed"
    one.serve_kept()


def test_a_failed_flush_is_known_during_a_hold(gate: FuseGate) -> None:
    gate.fuse[2].hang(on=("flush",))
    asked = gate.wire.flush()
    hangs(gate, 2, "the flush")
    gate.mirror.hold.begin(None, "an administrator")
    gate.fuse[2].serve_kept(FAILED_FLUSH)
    wait_until(gate.server.idle)
    assert shared_page.failed_legs(gate.cells) == {2}
    gate.mirror.hold.release()
    asked.result()


def test_what_a_leg_has_said_concerns_no_other(gate: FuseGate) -> None:
    """Two requests fail there; what was said to the second one struck the leg when it was back."""
    gate.fuse[2].hang(on=("write",))
    asked = [gate.wire.write(0, b"b" * PAGE), gate.wire.write(2 * PAGE, b"c" * PAGE)]
    hangs(gate, 2, "both writes", 2)
    gate.fuse[2].serve_kept(FAILED_WRITE, only=1)
    wait_until(lambda: any(each.answered.is_set() for each in asked))
    gate.fuse[2].serve_kept(FAILED_WRITE)
    for each in asked:
        each.result()
    gate.await_idle()
    assert not [hand for hand in gate.mirror.hands.all() if hand.refusal]
    gate.bring_back(2)
    for number in range(8):
        gate.wire.write(number * PAGE, b"d" * PAGE).result()
    assert gate.states()[2] != "failed", gate.mirror.roster.entry(2).reason


def test_a_hold_waits_for_the_successor(gate: FuseGate) -> None:
    gate.fuse[2].hang(on=("write",))
    asked = gate.wire.write(0, b"b" * PAGE)
    hangs(gate, 2, "the write")
    gate.mirror.hold.begin(None, "an administrator")
    for hand in gate.inside(2):
        assert hand.give_up(monotonic_ns(), inside=2)
        assert not gate.server.idle(), "nobody has it in hand just now, but somebody will"
        gate.mirror.give_up(hand, 2, 0.0)
        gate.server.replace(hand)
    wait_until(gate.server.idle)
    written = gate.data(1)
    assert not asked.answered.wait(0.2) or written[:PAGE] == b"b" * PAGE
    assert gate.data(1) == written, "nothing is written during a hold"
    gate.mirror.hold.release()
    asked.result()


def test_nothing_is_answered_once_the_volume_is_another_s(gate: FuseGate) -> None:
    class Refusing:
        arbitrates = True

        def remember(self, *_: Any) -> None:
            raise Superseded("somebody else", "")

    gate.wire.read(0, PAGE).result()
    gate.mirror.memory._coordinator = Refusing()  # type: ignore[assignment]
    durable = gate.mirror.roster.durable
    with gate.mirror.roster.lock:
        refused = threading.Thread(
            target=gate.run, args=(lambda hand: gate.mirror.settling._remember(hand, durable),)
        )
        refused.start()
        wait_until(lambda: gate.cells[shared_page.SUPERSEDED] == 1)
        asked = gate.wire.read(0, PAGE)
        assert not asked.answered.wait(0.3)
    refused.join()
