"""A line of the record that its writer could not end spoils nothing that comes after it."""

from __future__ import annotations

from pathlib import Path

from holdfast.applications.rebind.parking.record import EntryKind, ParkingRecord


def test_next_entry_is_read(tmp_path: Path) -> None:
    record = ParkingRecord(tmp_path / "record")
    record.begin(1)
    with (tmp_path / "record" / "journal").open("ab") as file:
        file.write(b'{"act": "proc' + b"x" * 10_000)
    record.write({"act": EntryKind.PARKING})
    assert [entry["act"] for entry in record.read()] == [EntryKind.BEGIN, EntryKind.PARKING]
