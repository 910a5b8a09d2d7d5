"""The disk of Holdfast's own files is full while a plain mount is to get its gate: an error with a
code and a mend, the mount as it was, and nothing left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import StateFailed
from holdfast.restoration.performing.perform import perform
from holdfast.service import GateRequest, Holdfast
from tests.faults import own_disk, take_room
from tests.kernel.restoration.bench import detach_loops_in
from tests.kernel.restoration.in_place.bench import IMAGE, plain_mount, print_of

AT_ONCE = "before anything is recorded"
CASES = ((AT_ONCE, False), ("before prepare", False), ("in restore", True))
"""Where it becomes full, and whether the volume is to stay where it is."""


@contextmanager
def adopted(settings: Settings, folder: Path) -> Iterator[Holdfast]:
    """The volume `data`, with a state directory on an ext4 of its own: there a new directory needs
    a block, as on the disks of hosts."""
    settings.state_directory.parent.mkdir(parents=True, exist_ok=True)
    with (
        own_disk(settings.state_directory, folder / "state.img"),
        plain_mount(folder, IMAGE) as (_, path),
        Holdfast(settings) as holdfast,
    ):
        holdfast.adopt_volume("data", str(path))
        try:
            yield holdfast
        finally:
            (settings.state_directory / "ballast").unlink(missing_ok=True)
            holdfast.detach_volume("data")
            holdfast.delete_volume("data")
            detach_loops_in(folder)


def test_it_is_told_and_undone(settings: Settings, ram_directory: Path) -> None:
    state, leg = settings.state_directory, ram_directory / "leg.img"
    ballast = state / "ballast"
    with adopted(settings, ram_directory) as holdfast:
        size_bytes, _ = print_of(ram_directory / "plain.img")
        for place, in_place in CASES:
            urls = () if in_place else (f"file:{leg}",)
            found = holdfast.restorations.assess(GateRequest("data", urls, in_place=in_place))

            def fill(here: str, place: str = place) -> None:
                if here == place:
                    take_room(ballast)

            with pytest.raises(StateFailed) as told:
                fill(AT_ONCE)
                perform(settings, holdfast.catalog, found, checkpoint=fill)
            assert os.strerror(28) in str(told.value) and "Make room" in told.value.mend
            ballast.unlink()
            holdfast.recover()
            assert holdfast.recover() == []
            assert holdfast.show_volume("data").kind == "adopted"
            assert not list((state / "restorations").glob("*")), place
            assert not leg.exists()
            assert print_of(ram_directory / "plain.img")[0] == size_bytes
