"""The record on disk: what it means later, and that no damage to it is anything but a refusal."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.applications.rebind.parking.notes import (
    FifoDetails,
    FileDetails,
    HandleNote,
    Registration,
    SocketDetails,
    WatchDetails,
    WatchRecord,
)
from holdfast.applications.rebind.parking.observed import Observed
from holdfast.applications.rebind.parking.record import (
    VERSION,
    EntryKind,
    Parked,
    ParkedProcess,
    ParkingRecord,
)
from holdfast.errors import Blocked, StorageFailed
from holdfast.model.handle import Handle, HandleKind
from holdfast.system.boot import boot_id
from tests.soak import rounds

OLD = Path(__file__).parent / "records" / "before-versions.jsonl"
"""As it was written when records had no version; three processes with every kind of handle."""

FIFO = HandleNote(
    Handle(HandleKind.FIFO, 7, "/srv/shop/x", inside="x", mode="r", number=5, flags=os.O_ASYNC),
    FifoDetails(
        key="description-9",
        inside="x",
        owner=(1, 7),
        capacity_bytes=65536,
        unread_bytes=3,
        hung_up=True,
        interests=(Registration(6, 5, 1, 2),),
    ),
)
"""A kind that records have since there are versions."""
SOCKET = HandleNote(
    Handle(HandleKind.SOCKET, 7, "/srv/s", inside="s", mode="listening", number=3, inode=9),
    SocketDetails(
        key="description-90",
        inside="s",
        before=Observed(8, 9, 0o140600, 0, 0, identity="1:0900000001000000"),
        lasting=True,
        type=1,
        name=b"/srv/s".hex(),
        listens=True,
        backlog=5,
        listener=(7, 0, 0),
        groups=(0,),
        at_home=True,
        options=((16, "01000000"),),
        owner=(1, 7),
        signal=10,
        interests=(Registration(4, 3, 1, 5),),
    ),
)
"""A kind that came later."""

WRONG = (None, "x", -1, 1 << 70, 0.5, True, [], {}, [[]], "\0")


def entries_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    found[0]["boot"] = boot_id()
    return found


def written(folder: Path, entries: list[Any]) -> ParkingRecord:
    lines = "".join(json.dumps(each) + "\n" for each in entries)
    (folder / "journal").write_text(lines)
    return ParkingRecord(folder)


def loaded(folder: Path, entries: list[Any]) -> Parked:
    found = written(folder, entries).load()
    assert found is not None
    return found


def test_from_before_there_were_versions(tmp_path: Path) -> None:
    found = loaded(tmp_path, entries_of(OLD))
    assert [len(each.notes) for each in found.processes] == [2, 47, 25]
    assert found.kinds == set(EntryKind) - {EntryKind.RELEASED}
    assert found.copied is not None
    kinds = {note.handle.kind for each in found.processes for note in each.notes}
    assert len(kinds) == 8


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    found = loaded(tmp_path / "old", entries_of(OLD))
    record = ParkingRecord(tmp_path / "new")
    record.begin(found.deadline_ns)
    record.enter(*found.processes)
    again = record.load()
    assert again is not None
    assert again.processes == found.processes
    assert record.read()[0]["version"] == VERSION


def test_handles_prepared_ahead_are_written_as_any_others(tmp_path: Path) -> None:
    """Also those with names that look like what is written around them."""
    (tmp_path / "old").mkdir()
    found = loaded(tmp_path / "old", entries_of(OLD)).processes
    spoilt = HandleNote(
        replace(found[1].notes[0].handle, path='{"handle": null, "details": {}}'),
        replace(found[1].notes[0].details, key='{"handle": null, '),
    )
    processes = (*found, ParkedProcess("x", found[1].process, (spoilt, *found[1].notes[1:])))
    lines = []
    for count in (0, 1, 3):
        record = ParkingRecord(tmp_path / f"prepared-{count}")
        record.begin(5)
        record.prepare(note.handle for each in processes[:count] for note in each.notes)
        record.enter(*processes)
        again = record.load()
        assert again is not None
        assert again.processes == processes
        lines.append((record.directory / "journal").read_bytes().split(b"\n", 1)[1])
    assert lines[0] == lines[1] == lines[2]


def test_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    entries = entries_of(OLD)
    entries[0]["version"] = VERSION + 1
    with pytest.raises(StorageFailed, match="newer Holdfast") as refusal:
        written(tmp_path, entries).load()
    assert "holdfast recover" in refusal.value.mend


def test_an_instance_with_a_thousand_watches(tmp_path: Path) -> None:
    """They are written once, not once for each of them: the record can be read."""
    process = loaded(tmp_path, entries_of(OLD)).processes[0]
    watches = tuple(WatchRecord(each, each, (8, 1), 2, 1, "00" * 16) for each in range(1, 1001))
    notes = tuple(
        HandleNote(
            Handle(HandleKind.INOTIFY, process.process.pid, "/srv/shop/x", number=5, start=each),
            WatchDetails(
                key="instance-0",
                inside="x",
                lasting=True,
                known=True,
                instance_flags=0,
                watches=watches,
                unread_bytes=0,
                interests=(),
            ),
        )
        for each in range(1, 1001)
    )
    record = ParkingRecord(tmp_path / "record")
    record.begin(5)
    record.enter(ParkedProcess("watcher", process.process, notes))
    assert (tmp_path / "record/journal").stat().st_size < 2 << 20
    found = record.load()
    assert found is not None
    assert found.processes[0].notes == notes


@pytest.mark.parametrize(
    ("handle", "details"),
    [
        ({"path": "/srv/" + "d" * 70_000}, {}),
        ({"inside": "d" * 70_000}, {}),
        ({"offset": -1}, {}),
        ({"offset": 1 << 63}, {}),
        ({"number": None}, {}),
        ({}, {"inside": "d" * 70_000}),
        ({}, {"owner": (1, 1 << 40)}),
    ],
)
def test_what_could_not_be_read_again_is_not_written(
    tmp_path: Path, handle: dict[str, Any], details: dict[str, Any]
) -> None:
    """Nobody is parked then: who has it is named, and everybody goes on."""
    good = loaded(tmp_path, entries_of(OLD)).processes[1]
    note = next(each for each in good.notes if isinstance(each.details, FileDetails))
    spoilt = HandleNote(replace(note.handle, **handle), replace(note.details, **details))
    bad = ParkedProcess("spoiler", replace(good.process, pid=4711), (spoilt,))
    record = ParkingRecord(tmp_path / "record")
    record.begin(5)
    record.prepare([spoilt.handle])
    with pytest.raises(Blocked, match=r"spoiler \(process 4711\)") as refusal:
        record.enter(good, bad)
    assert refusal.value.mend
    assert [each["act"] for each in record.read()] == [EntryKind.BEGIN]


def test_whatever_the_kernel_tells_can_be_written(tmp_path: Path) -> None:
    """Positions in directories are any 64 bits (FUSE, NFS); a clock may be anywhere."""
    good = loaded(tmp_path, entries_of(OLD)).processes[1]
    folder = next(each for each in good.notes if each.handle.kind is HandleKind.DIRECTORY)
    note = replace(folder, handle=replace(folder.handle, offset=-(1 << 63)))
    process = replace(good.process, clock_offset_ns=-(1 << 63))
    parked = ParkedProcess("reader", process, (note,))
    record = ParkingRecord(tmp_path / "record")
    record.begin(5)
    record.enter(parked)
    found = record.load()
    assert found is not None
    assert found.processes == (parked,)


def small() -> list[dict[str, Any]]:
    """One note of each kind, one thread, one register set; every other entry."""
    entries = entries_of(OLD)
    processes = [each for each in entries if each["act"] == EntryKind.PROCESS]
    others = [each for each in entries if each["act"] != EntryKind.PROCESS]
    notes: dict[object, Any] = {}
    for note in (note for each in processes for note in each["notes"]):
        notes.setdefault((note["handle"]["kind"], bool(note["handle"]["locks"])), note)
    process = processes[0]
    process["notes"] = [*notes.values(), FIFO.as_json(), SOCKET.as_json()]
    return [others[0], process, *others[1:]]


def places_in(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in it."""
    if way:
        yield way
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places_in(value[key], (*way, key))


def changed(entries: list[Any], way: tuple[Any, ...], value: Any) -> None:
    inner: Any = entries
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = value


def test_what_is_no_identity_is_refused(tmp_path: Path) -> None:
    for way in ((1, "notes", 0, "details", "before", "identity"), (4, "places", "1:02", 1)):
        entries = small()
        assert entries[way[0]]["act"] in (EntryKind.PROCESS, EntryKind.COPIED)
        changed(entries, way, "nonsense")
        with pytest.raises(StorageFailed, match="damaged"):
            written(tmp_path, entries).load()


def test_every_field_is_damaged_in_turn(tmp_path: Path) -> None:
    text = json.dumps(small())
    for turn in range(rounds(3, len(WRONG))):
        for number, way in enumerate(places_in(json.loads(text))):
            entries = json.loads(text)
            changed(entries, way, WRONG[(number + turn) % len(WRONG)])
            check(tmp_path, entries, way)


def test_every_field_is_missing_in_turn(tmp_path: Path) -> None:
    text = json.dumps(small())
    for way in places_in(json.loads(text)):
        entries = json.loads(text)
        inner: Any = entries
        for key in way[:-1]:
            inner = inner[key]
        del inner[way[-1]]
        check(tmp_path, entries, way)


def check(folder: Path, entries: list[Any], way: tuple[Any, ...]) -> None:
    """It is read with types that are right, or refused with a mend."""
    try:
        found = written(folder, entries).load()
    except StorageFailed as error:
        assert error.mend, way
        return
    for each in found.processes if found is not None else ():
        assert isinstance(each.process.pid, int), way
        assert all(isinstance(note.handle.kind, HandleKind) for note in each.notes), way
        assert all(replace(note) == note and json.dumps(note.as_json()) for note in each.notes)
