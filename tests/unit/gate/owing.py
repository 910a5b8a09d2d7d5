"""A gate that owes something for a bad place, and what may befall it."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from holdfast.gate.data.owing import owed_file
from holdfast.gate.data.owing.owed_file import FILE_NAME
from tests.unit.gate.blocks import write
from tests.unit.gate.gate_in_process import InProcessGate

SIZE = 8 << 20
BAD = 8192
GOOD = 5 << 20


def spoil(gate: InProcessGate, place: int = BAD, number: int = 1) -> None:
    """That sector of the leg can be neither read nor written any more."""
    gate.storages.bad_places.setdefault(number, set()).add(place)
    gate.storages.not_writable.add((number, place))


def lose_what_was_written(gate: InProcessGate, number: int, place: int) -> None:
    """The disk's volatile cache is gone, and the sector went bad."""
    with gate.image(number).open("r+b") as image:
        image.seek(place)
        image.write(bytes(4096))
    spoil(gate, place, number)


def owing(gate: InProcessGate, letter: bytes = b"1") -> None:
    """BAD holds an answered write, which no leg can take, and a flush was answered since."""
    write(gate, letter, BAD, flush=True)
    gate.die()
    lose_what_was_written(gate, 1, BAD)
    gate.start()
    assert gate.mirror.owed.offsets == [BAD]
    write(gate, b"x", GOOD, flush=True)
    assert (gate.state_directory / FILE_NAME).exists()


def owe_more(gate: InProcessGate, place: int) -> None:
    """The only leg fails, loses its cache and what was written there, and comes back."""
    roster = gate.mirror.roster
    entry = roster.configuration.legs[0]
    roster.fail(roster.readers[0], "a test")
    for leg in roster.retired.take():
        leg.close()
    gate.storages.lose_cache(gate.image(1), random.Random(1))
    lose_what_was_written(gate, 1, place)
    gate.bring_back(entry)
    assert gate.mirror.owed.offsets == [BAD, place]


def cut_power(gate: InProcessGate) -> None:
    """Of the host and of its disk."""
    gate.die()
    gate.storages.lose_cache(gate.image(1), random.Random(1))
    gate.lose_memory()


def lose_saved(gate: InProcessGate) -> None:
    """The file of what is owed is to be written once more."""
    (gate.state_directory / FILE_NAME).unlink()
    gate.mirror.repaying._saved._contents = {}


@dataclass(frozen=True)
class SlowSaving:
    """`inside`: somebody writes the file. `go_on`: lets them."""

    inside: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


@contextmanager
def slow_saving(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowSaving]:
    """The state directory hangs whoever writes the file of what is owed."""
    slow, really = SlowSaving(), owed_file.replace_durably

    def replace(path: Path, contents: str) -> None:
        slow.inside.set()
        slow.go_on.wait(60)
        really(path, contents)

    with monkeypatch.context() as patch:
        patch.setattr(owed_file, "replace_durably", replace)
        yield slow
