"""Any record is loaded as what it says, or refused; and what was loaded can be put back: no number
is too large for a structure of the kernel, no text is one that no path can be.

Seconds in CI, long with HOLDFAST_SOAK=1.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.applications.rebind.handles import DRIVERS
from holdfast.applications.rebind.handles.epoll import _EVENT
from holdfast.applications.rebind.handles.executable import _MEMORY_MAP
from holdfast.applications.rebind.handles.signals import _OWNER
from holdfast.applications.rebind.opening.opener import close_opened
from holdfast.applications.rebind.opening.reopening import Reopening, lock_structure
from holdfast.applications.rebind.parking.notes import (
    ExecutableDetails,
    FifoDetails,
    FileDetails,
    HandleNote,
    SocketDetails,
    WatchDetails,
)
from holdfast.applications.rebind.parking.record import Parked, ParkingRecord
from holdfast.applications.rebind.parking.relocation import OtherContents
from holdfast.errors import UnreadableRecord
from holdfast.model.handle import LockKind
from holdfast.system.files.inode_identity import is_same, number_of
from tests.soak import rounds
from tests.unit.applications.rebind.parking.test_record_format import changed, places_in, small
from tests.unit.test_strangers_bytes import FUZZ, JSON

EDGES = st.sampled_from(
    [sign * (1 << bits) + more for bits in (0, 7, 15, 31, 32, 62, 63, 64, 95, 96)
     for sign in (1, -1) for more in (-1, 0, 1)]
)  # fmt: skip
TEXTS = st.sampled_from(["", "\0", "/", "..", "\ud800", "\udcff", "x" * 70_000, "read", "unlck"])
PIECES = JSON | EDGES | TEXTS | st.lists(EDGES, max_size=3)


@functools.cache
def places() -> list[tuple[Any, ...]]:
    return list(places_in(small()))


@st.composite
def damaged(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A record of ours with something else in some places."""
    entries = json.loads(json.dumps(small()))
    for _ in range(draw(st.integers(1, 3))):
        try:
            changed(entries, draw(st.sampled_from(places())), draw(PIECES))
        except (KeyError, IndexError, TypeError):
            continue  # what was there has been exchanged already
    return entries


@contextmanager
def folder_of(factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A directory for a record, and the root of a file system with nothing on it."""
    folder = factory.mktemp("record")
    (folder / "new").mkdir()
    base = os.open(folder / "new", os.O_PATH | os.O_DIRECTORY)
    try:
        yield folder, base
    finally:
        os.close(base)


@settings(FUZZ, max_examples=rounds(150, 20_000))
@given(damaged())
def test_loaded_or_refused(
    tmp_path_factory: pytest.TempPathFactory, entries: list[dict[str, Any]]
) -> None:
    with folder_of(tmp_path_factory) as (folder, base):
        lines = "".join(json.dumps(each) + "\n" for each in entries)
        (folder / "journal").write_text(lines)
        try:
            found = ParkingRecord(folder).load()
        except UnreadableRecord as error:
            assert error.mend
            return
        if found is None:  # of another boot
            return
        comes_back(folder / "again", found)
        can_be_put_back(folder, base, found)


def comes_back(folder: Path, found: Parked) -> None:
    """Written once more, it says the same."""
    record = ParkingRecord(folder)
    record.begin(found.deadline_ns)
    record.enter(*found.processes)
    again = record.load()
    assert again is not None
    assert (again.processes, again.deadline_ns) == (found.processes, found.deadline_ns)


def can_be_put_back(folder: Path, base: int, found: Parked) -> None:
    """What replay does with it, but for the processes: it opens, or says that it could not."""
    for parked in found.processes:
        for note in parked.notes:
            fits_the_kernel(note)
            was = note.details.was
            if was is not None and found.copied is not None:
                number_of(was.identity)
                place = found.copied.place_of(was, note.details.inside)
                assert place is None or not is_same(place.identity, "")
            for request in DRIVERS[note.handle.kind].requests(note):
                for relocation in (OtherContents(), found.copied or OtherContents()):
                    opening = Reopening({request.mount_id: base}, folder, relocation=relocation)
                    close_opened([opening.open(request)])
                    for descriptor in opening.carried.values():
                        os.close(descriptor)


def fits_the_kernel(note: HandleNote) -> None:
    """Its numbers have room in the structures that they are written to."""
    details = note.details
    if isinstance(details, FileDetails) and details.owner is not None:
        _OWNER.pack(*details.owner)
    if isinstance(details, ExecutableDetails):
        _MEMORY_MAP.pack(*details.values, 0, 0, 0)
    if isinstance(details, WatchDetails | FifoDetails | SocketDetails):
        for each in details.interests:
            _EVENT.pack(each.events, each.data)
    for lock in note.handle.locks:
        if lock.kind in (LockKind.POSIX, LockKind.OPEN_FILE):
            lock_structure(lock)
