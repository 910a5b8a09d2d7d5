"""A gate is told what of its history the copies that follow still need."""

from __future__ import annotations

from holdfast.copies.records import CopyRecords, FollowingRecords
from holdfast.errors import NoSuchVolume
from holdfast.gate.log.history.needed import note_needed
from holdfast.service.host import Host


def note(host: Host, name: str) -> None:
    """As the records of its copies say now; durable. What follows and is no copy any more is
    forgotten. The caller has the turn on them. Raises StateFailed, OSError."""
    settings = host.settings
    if not (settings.state_directory / "following").is_dir():
        return
    try:
        volume_id = host.volume(name).id
    except NoSuchVolume:
        return
    records, copies = FollowingRecords(settings), CopyRecords(settings).of(name)
    asked = {each.id for each in records.of(name)}
    for gone in asked - {each.id for each in copies}:
        records.forget(gone)
    positions = [
        each.position
        for each in copies
        if each.id in asked
        and (each.is_complete or each.becomes_leg)
        and each.volume_id == volume_id
    ]
    note_needed(settings.gate_state_directory(name), volume_id, positions)
