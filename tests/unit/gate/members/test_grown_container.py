"""Containers that somebody enlarged: the tail stays where it was, and is found there.

By a worker that takes over, by a start, and, when nobody remembers anything, by looking for it;
until the volume grows, and then it moves to the new end.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from holdfast.errors import ContainerFailed
from holdfast.gate.members.provision import rediscover
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.model.volume import JournalMode
from holdfast.volumes.delete import erase_leg
from tests.unit.gate.blocks import on_leg, read, states, write
from tests.unit.gate.gate_in_process import InProcessGate

SIZE = 4 << 20
ROOM = 3 << 20
"""The containers are larger than they would have to be."""


def made(folder: Path, legs: int) -> InProcessGate:
    gate = InProcessGate.__new__(InProcessGate)
    for number in range(1, legs + 1):
        path = folder / f"{number}.img"
        path.touch()
        os.truncate(path, container_bytes_needed(SIZE) + ROOM)
    gate.__init__(folder, SIZE, legs, JournalMode.NONE)  # type: ignore[misc]
    gate.start()
    return gate


def enlarge(gate: InProcessGate, number: int, by_bytes: int = 5 << 20) -> None:
    image = gate.image(number)
    os.truncate(image, image.stat().st_size + by_bytes)


def lose_leg_2(gate: InProcessGate) -> None:
    roster = gate.mirror.roster
    roster.fail(next(leg for leg in roster.readers if leg.number == 2), "its cable was moved")
    gate.run(gate.mirror.settling.settle)
    gate.tend()


@pytest.mark.parametrize("successor", ["takes over", "starts"])
@pytest.mark.parametrize("enlarged", [(1,), (2,), (1, 2)])
def test_no_bit_is_lost(tmp_path: Path, successor: str, enlarged: tuple[int, ...]) -> None:
    """The leg that was away lacks what has a bit at the old place of the other one's tail."""
    gate = made(tmp_path, 2)
    write(gate, b"1", 0, flush=True)
    lose_leg_2(gate)
    write(gate, b"2", 1 << 20, flush=True)
    for number in enlarged:
        enlarge(gate, number)
    gate.die()
    gate.take_over() if successor == "takes over" else gate.start()
    assert states(gate)[1] == "in-sync"
    assert gate.mirror.intent.bitmap.dirty() == [0, 1]
    gate.bring_back(gate.mirror.roster.entry(2))
    gate.finish_resyncs()
    assert states(gate) == {1: "in-sync", 2: "in-sync"}
    assert on_leg(gate, 2, 1 << 20) == b"2"
    gate.die()


def test_the_growth_moves_it_to_the_end(tmp_path: Path) -> None:
    gate = made(tmp_path, 2)
    write(gate, b"1", 0, flush=True)
    for number in (1, 2):
        enlarge(gate, number)
    gate.run(lambda hand: gate.changes.resize(hand, 2 * SIZE))
    end = gate.image(1).stat().st_size
    assert {leg.container_bytes for leg in gate.mirror.roster.writers} == {end // 4096 * 4096}
    assert {leg.container_bytes for leg in gate.mirror.roster.configuration.legs} == {end}
    write(gate, b"2", SIZE, flush=True)
    gate.close_cleanly()
    shutil.rmtree(gate.state_directory)
    gate.move_to("B")
    gate.start()
    assert gate.mirror.size_bytes == 2 * SIZE
    assert read(gate, 0) == b"1"
    assert read(gate, SIZE) == b"2"
    gate.die()


def test_it_is_found_when_nobody_remembers(tmp_path: Path) -> None:
    gate = made(tmp_path, 1)
    write(gate, b"1", 0, flush=True)
    gate.close_cleanly()
    enlarge(gate, 1, (5 << 20) + 777)
    shutil.rmtree(gate.state_directory)
    gate.move_to("B")
    gate.start()
    assert read(gate, 0) == b"1"
    gate.close_cleanly()
    gate.start()
    gate.die()


def test_the_image_of_a_leg_inside_of_the_volume_is_none(tmp_path: Path) -> None:
    """A file of the volume looks like a tail, and does not lie where it says that it does."""
    gate = made(tmp_path, 1)
    image = gate.image(1).read_bytes()
    tail = image[-(32 << 10) :]
    with gate.image(1).open("r+b") as file:
        file.seek(1 << 20)
        file.write(tail)
    gate.close_cleanly()
    with gate.image(1).open("r+b") as file:
        file.seek(len(image) - len(tail))
        file.write(bytes(len(tail)))
    with pytest.raises(ContainerFailed, match="no Holdfast superblock"):
        rediscover([f"file:{gate.image(1)}"])


def test_an_enlarged_leg_is_erased(tmp_path: Path) -> None:
    gate = made(tmp_path, 1)
    gate.close_cleanly()
    enlarge(gate, 1)
    url = f"file:{gate.image(1)}"
    erase_leg(url, "the-volume", remove_image=False)
    assert b"HOLDFAST" not in gate.image(1).read_bytes()


def test_a_smaller_one_again_is_the_same(tmp_path: Path) -> None:
    gate = made(tmp_path, 1)
    size = gate.image(1).stat().st_size
    write(gate, b"1", 0, flush=True)
    gate.close_cleanly()
    enlarge(gate, 1)
    gate.start()
    gate.close_cleanly()
    os.truncate(gate.image(1), size)
    gate.start()
    assert read(gate, 0) == b"1"
    gate.die()
