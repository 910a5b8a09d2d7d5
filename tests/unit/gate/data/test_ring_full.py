"""The log ring is full: whoever writes has the legs flushed first, and nobody is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.model.volume import JournalMode
from tests.unit.gate.blocks import read, write
from tests.unit.gate.gate_in_process import RING_BYTES, InProcessGate

SIZE = 8 << 20
PLACES = SIZE // 4096
MANY = 4 * RING_BYTES // 4096


@pytest.fixture(params=[1, 2])
def gate(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[InProcessGate]:
    gate = InProcessGate(tmp_path, SIZE, request.param, JournalMode.UNFLUSHED)
    gate.start()
    yield gate
    gate.die()


def letter(number: int) -> bytes:
    return bytes([number % 250 + 1])


def test_writes_go_on(gate: InProcessGate) -> None:
    for number in range(MANY):
        write(gate, letter(number), number * 4096)
    assert gate.mirror.log.used_bytes <= RING_BYTES
    assert all(read(gate, number * 4096) == letter(number) for number in range(MANY))


def test_writes_of_many_go_on(gate: InProcessGate) -> None:
    failed: list[BaseException] = []

    def work(own: int) -> None:
        try:
            for number in range(own, MANY, 4):
                write(gate, letter(number), number * 4096)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(own,)) for own in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert all(read(gate, number * 4096) == letter(number) for number in range(MANY))


def test_what_is_kept_is_what_a_lost_cache_held(gate: InProcessGate) -> None:
    """At any time: the ring goes back to what the legs were flushed for."""
    for number in range(MANY):
        write(gate, letter(number), number * 4096)
    gate.die()
    for path in list(gate.storages.durable):
        for place, content in gate.storages.durable.pop(path).items():
            with Path(path).open("r+b") as image:
                image.seek(place * 4096)
                image.write(content)
    gate.start()
    gate.finish_resyncs()
    assert all(read(gate, number * 4096) == letter(number) for number in range(MANY))
