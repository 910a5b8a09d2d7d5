"""The journal of a rebind: survives torn ends, means nothing after another boot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.applications.rebind.parking.notes import FileDetails, HandleNote, note_from_json
from holdfast.applications.rebind.parking.record import EntryKind, ParkingRecord
from holdfast.model.handle import FileLock, Handle, HandleKind, LockKind

HANDLE = Handle(
    kind=HandleKind.FILE,
    pid=7,
    path="/data/\udcff name",
    mount_id=3,
    inside="\udcff name",
    number=5,
    locks=(FileLock(LockKind.POSIX, "write", 10, None),),
)


def test_a_note_comes_back_as_it_was() -> None:
    note = HandleNote(HANDLE, FileDetails("description-1", HANDLE.inside))
    assert note_from_json(json.loads(json.dumps(note.as_json()))) == note


def test_entries_in_order_without_a_torn_one(tmp_path: Path) -> None:
    record = ParkingRecord(tmp_path / "record")
    record.begin(123)
    record.write({"act": EntryKind.PROCESS, "pid": 1}, {"act": EntryKind.PARKING})
    with (tmp_path / "record/journal").open("ab") as journal:
        journal.write(b'{"act": "par')
    acts = [entry["act"] for entry in record.read()]
    assert acts == [EntryKind.BEGIN, EntryKind.PROCESS, EntryKind.PARKING]


def test_a_record_is_of_one_rebind(tmp_path: Path) -> None:
    ParkingRecord(tmp_path / "record").begin(1)
    with pytest.raises(FileExistsError):
        ParkingRecord(tmp_path / "record").begin(2)
    assert (tmp_path / "record").stat().st_mode & 0o777 == 0o700


def test_of_an_earlier_boot(tmp_path: Path) -> None:
    record = ParkingRecord(tmp_path / "record")
    record.begin(1)
    journal = tmp_path / "record/journal"
    entry = json.loads(journal.read_text())
    journal.write_text(json.dumps({**entry, "boot": "another"}) + "\n")
    assert record.read() == []


def test_removed(tmp_path: Path) -> None:
    record = ParkingRecord(tmp_path / "record")
    record.begin(1)
    for _ in range(2):
        record.remove()
    assert record.read() == []
