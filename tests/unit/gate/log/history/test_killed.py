"""A process that is killed before any call to the history's storage: fence, segments, retention.

What was durable stays, whoever comes next goes on, and nothing else is left behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast.gate.log.history.reading import Gap
from holdfast.gate.log.history.room import FIRST_BYTES
from holdfast.gate.log.history.segments import find, in_order
from holdfast.gate.log.history.writing import HistoryWriter
from holdfast.gate.log.segment import Kind
from tests.soak import rounds
from tests.unit.gate.log.history.test_against_a_list import SEGMENT_BYTES, VOLUME, Gate, entries

CALLS = ("open", "pwrite", "fsync", "fdatasync", "unlink", "posix_fallocate", "ftruncate")
LIMIT_BYTES = 8 * FIRST_BYTES
LONGEST_LIFE = 40
"""Calls that change something: more than a life takes that carries, rolls over and removes once."""


class KilledError(BaseException):
    """The process died here."""


@contextmanager
def killed_before(call: int) -> Iterator[None]:
    """The process dies before that many calls to storage more; what it closes it closes."""
    left, really_open = call, os.open

    def fused(function: Any) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= function is not really_open or bool(arguments[1] & os.O_CREAT)
            if left < 0:
                raise KilledError
            return function(*arguments, **options)

        return run

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, fused(getattr(os, name)))
        yield


class Limited(Gate):
    """One whose history is removed beyond a limit."""

    def new_writer(self) -> HistoryWriter:
        return HistoryWriter(self.path, VOLUME, SEGMENT_BYTES, limit_bytes=LIMIT_BYTES)


def test_killed_before_any_call(tmp_path: Path) -> None:
    gate, written = Limited(tmp_path), []
    for life in range(rounds(60, 300)):
        gate.writer.close()
        with suppress(KilledError), killed_before(life % LONGEST_LIFE):
            gate.go_on()
            for number in range(4):
                payload = bytes([1 + (life + number) % 255]) * 20000
                entry = gate.append(Kind.DATA, 4096 * (number % 3), payload, len(payload))
                if entry is not None:
                    written.append(entry)
                gate.carry()
            while not gate.carrier.look_after():
                pass
    gate.writer.close()
    gate.go_on()
    gate.carry()
    while not gate.carrier.look_after():
        pass
    gate.writer.close()
    segments = in_order(find(gate.path), VOLUME)
    first = segments[0].page.base
    found = entries(gate.path, first)
    assert not any(isinstance(each, Gap) for each in found)
    assert found == [each for each in written if each[0] > first]
    assert len(found) > 3
    assert sum(each.size_bytes for each in segments) <= LIMIT_BYTES
    names = {each.path.name for each in segments} | {"lock"}
    assert {each.name for each in gate.path.iterdir()} <= names
