"""The gate dies amid a change of the legs in sync: what its legs say alone afterwards, and prove.

A leg says from which epoch its own is raised until gate.json has it, and then that it has.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from holdfast.containers.back_end import DescriptorBackEnd
from holdfast.errors import NoSource, StorageFailed
from holdfast.gate.members.configuration import load_configuration
from holdfast.gate.members.superblock import Settled, Superblock, read_superblock
from holdfast.model.volume import JournalMode
from tests.unit.gate.blocks import read, states, write
from tests.unit.gate.gate_in_process import InProcessGate, KilledError

SIZE = 4 << 20
IDS = tuple(f"leg-{number}-of-the-volume" for number in (1, 2, 3))
FUSES = range(40)

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def said_by(gate: InProcessGate, number: int) -> Superblock:
    """The superblock of a leg, as it lies on the image."""
    image = gate.image(number)
    device = DescriptorBackEnd(os.open(image, os.O_RDONLY))
    try:
        found = read_superblock(device, image.stat().st_size)
    finally:
        device.close()
    assert found is not None
    return found


@contextmanager
def away(gate: InProcessGate, *numbers: int) -> Iterator[None]:
    """The images of these legs are not found."""
    images = [gate.image(number) for number in numbers]
    for image in images:
        image.rename(image.with_suffix(".away"))
    try:
        yield
    finally:
        for image in images:
            image.with_suffix(".away").rename(image)


def dies_while_leg_fails(folder: Path, fuse: int) -> InProcessGate:
    """Leg 2 fails at a write; the gate dies after that many calls to its legs."""
    folder.mkdir()
    gate = InProcessGate(folder, SIZE, 2, JournalMode.NONE)
    gate.start()
    write(gate, b"1", 0, flush=True)
    shutil.copy(gate.state_directory / "gate.json", folder / "before.json")
    gate.storages.error_after[2] = 0
    gate.storages.calls_to_live = fuse
    with suppress(KilledError):
        write(gate, b"2", 0, flush=True)
    gate.die()
    gate.storages.calls_to_live = None
    gate.storages.error_after.clear()
    return gate


def dies_before_the_mark(folder: Path, *, saved: bool) -> InProcessGate:
    """Leg 1 has the epoch without leg 2 and not the mark; `saved`: gate.json has it, too."""
    for fuse in FUSES:
        gate = dies_while_leg_fails(folder / str(fuse), fuse)
        if said_by(gate, 1).raised_from is not None:
            if not saved:
                gate.directory.joinpath("before.json").replace(gate.state_directory / "gate.json")
            return gate
    raise AssertionError("it never died there")


def test_no_leg_says_that_it_has_ended_before_gate_json_has_it(tmp_path: Path) -> None:
    seen = set()
    for fuse in FUSES:
        gate = dies_while_leg_fails(tmp_path / str(fuse), fuse)
        said, remembered = said_by(gate, 1), load_configuration(gate.state_directory).epoch
        seen.add((said.epoch, said.raised_from, remembered))
    before = Settled(1, IDS[:2])
    assert seen == {(1, None, 1), (2, before, 2), (2, None, 2)}


@pytest.mark.parametrize("saved", [False, True])
def test_without_the_mark_a_host_that_forgot_needs_whoever_was_in_sync(
    tmp_path: Path, saved: bool
) -> None:
    gate = dies_before_the_mark(tmp_path, saved=saved)
    gate.move_to("B")
    with away(gate, 2), pytest.raises(NoSource, match=r"2\.img may be newer"):
        gate.start()
    gate.start()
    assert read(gate, 0) in b"12"
    assert said_by(gate, 1).raised_from is None
    gate.die()


@pytest.mark.parametrize("saved", [False, True])
def test_without_the_mark_a_host_that_remembers_goes_on_alone(tmp_path: Path, saved: bool) -> None:
    """And sets it: the host may be lost at once after that."""
    gate = dies_before_the_mark(tmp_path, saved=saved)
    with away(gate, 2):
        gate.start()
        write(gate, b"3", 0, flush=True)
        gate.die()
        gate.move_to("B")
        gate.start()
        assert read(gate, 0) == b"3"
        gate.die()


def test_whoever_went_on_meanwhile_is_not_forgotten_with_the_host(tmp_path: Path) -> None:
    """Leg 1 has an epoch of its own that never came to be; the volume went on with leg 2."""
    gate = dies_before_the_mark(tmp_path, saved=False)
    with away(gate, 1):
        gate.start()
        write(gate, b"3", 0, flush=True)
        gate.die()
    with away(gate, 2):
        gate.move_to("B")
        with pytest.raises(NoSource, match=r"2\.img may be newer"):
            gate.start()
    gate.start()
    assert read(gate, 0) == b"3"
    gate.die()


def test_after_a_clean_failover_the_failed_leg_is_not_needed(tmp_path: Path) -> None:
    gate = dies_while_leg_fails(tmp_path / "volume", fuse=1000)
    with away(gate, 2):
        gate.move_to("B")
        gate.start()
        assert read(gate, 0) == b"2"
        assert states(gate)[1] == "in-sync"
        gate.die()


def test_a_worker_that_takes_over_sets_the_mark(tmp_path: Path) -> None:
    gate = dies_before_the_mark(tmp_path, saved=True)
    gate.take_over()
    assert said_by(gate, 1).raised_from is None
    gate.die()


def test_no_mark_while_gate_json_cannot_be_written(tmp_path: Path) -> None:
    """The volume goes on all the same; the mark follows when it can be."""
    gate = InProcessGate(tmp_path, SIZE, 2, JournalMode.NONE)
    gate.start()
    place = gate.state_directory / "gate.json"
    place.rename(tmp_path / "saved.json")
    place.mkdir()
    gate.storages.error_after[2] = 0
    write(gate, b"1", 0, flush=True)
    assert said_by(gate, 1).raised_from == Settled(1, IDS[:2])
    gate.run(gate.recovery.upkeep.checkpoint)
    assert said_by(gate, 1).raised_from == Settled(1, IDS[:2])
    place.rmdir()
    gate.run(gate.recovery.upkeep.checkpoint)
    assert said_by(gate, 1).raised_from is None
    gate.die()


def test_the_leg_fails_at_the_mark(tmp_path: Path) -> None:
    """That is an epoch without it, or a volume without legs; never an answer without a mark."""
    for at_call in range(8):
        folder = tmp_path / str(at_call)
        folder.mkdir()
        gate = InProcessGate(folder, SIZE, 3, JournalMode.NONE)
        gate.start()
        gate.storages.error_after[3] = 0
        gate.storages.error_after[2] = at_call
        write(gate, b"1", 0, flush=True)
        for number, state in states(gate).items():
            if state == "in-sync":
                said = said_by(gate, number)
                assert (said.epoch, said.raised_from) == (
                    load_configuration(gate.state_directory).epoch,
                    None,
                )
        gate.die()


def test_two_raises_in_one_life_are_not_newer_than_what_came_after_it(tmp_path: Path) -> None:
    """Leg 1 was told of epoch 2 without leg 3, then of epoch 3 without leg 2. Neither came to be:
    the others went on in epoch 2, as the host remembers."""
    gate = dies_at_its_second_raise(tmp_path)
    with away(gate, 1):
        gate.start()
        write(gate, b"3", 0, flush=True)
        gate.die()
    assert said_by(gate, 2).epoch < said_by(gate, 1).epoch
    gate.start()
    assert read(gate, 0) == b"3"
    assert said_by(gate, 2).epoch > 3
    gate.die()


def dies_at_its_second_raise(folder: Path) -> InProcessGate:
    """Leg 3 fails, and leg 2 before it was told that; leg 1 was told both, nobody else anything."""
    for at_call in range(8):
        for fuse in FUSES:
            directory = folder / f"{at_call}-{fuse}"
            directory.mkdir()
            gate = InProcessGate(directory, SIZE, 3, JournalMode.NONE)
            gate.start()
            saved = shutil.copy(gate.state_directory / "gate.json", directory / "before.json")
            gate.storages.error_after.update({2: at_call, 3: 0})
            gate.storages.calls_to_live = fuse
            with suppress(KilledError, StorageFailed):
                write(gate, b"1", 0)
            gate.die()
            gate.storages.calls_to_live = None
            gate.storages.error_after.clear()
            told = said_by(gate, 1)
            if (told.epoch, said_by(gate, 2).epoch) == (3, 1) and told.raised_from is not None:
                assert told.raised_from == Settled(1, IDS)
                shutil.copy(saved, gate.state_directory / "gate.json")
                return gate
    raise AssertionError("it never died there")


def test_a_raise_upon_one_that_may_not_have_ended_begins_where_that_one_did(tmp_path: Path) -> None:
    """A host that knows nothing takes both legs, and dies in its own raise."""
    gate = dies_before_the_mark(tmp_path, saved=False)
    gate.move_to("B")
    images = [gate.image(number) for number in (1, 2)]
    for image in images:
        shutil.copy(image, image.with_suffix(".saved"))
    raised_from = {}
    for fuse in FUSES:
        gate.storages.calls_to_live = fuse
        with suppress(KilledError, NoSource):
            gate.start()
        gate.die()
        gate.storages.calls_to_live = None
        said = said_by(gate, 1)
        if said.raised_from is not None:
            raised_from[said.epoch] = said.raised_from
        for image in images:
            shutil.copy(image.with_suffix(".saved"), image)
        shutil.rmtree(gate.state_directory)
        gate.move_to("B")
    assert max(raised_from) > 2
    assert set(raised_from.values()) == {Settled(1, IDS[:2])}
