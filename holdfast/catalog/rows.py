"""Turns rows into model values and back, field by field.

Owns the one place where a column meets a field. Invariant: what is written can be read again. What
decides something is refused otherwise (CannotRecord); what is only told, words and receipts, is cut
short. Must never query.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from holdfast.catalog.table import Row
from holdfast.catalog.tables import VOLUMES
from holdfast.errors import CannotRecord
from holdfast.model.bounded import read_json, typed
from holdfast.model.mountpoint import crowd_in_words
from holdfast.model.plan import ORDER
from holdfast.model.receipt import Receipt, receipt_from_json
from holdfast.model.restoration import Copy, Restoration, StepRecord
from holdfast.model.volume import Volume

_MOST_WORDS = 8 << 10
"""Characters of an outcome: a message with two paths."""


def row_of_volume(volume: Volume) -> Row:
    """The row that says the same as this volume. Raises CannotRecord."""
    row = _row_of_volume(volume)
    try:
        for name in VOLUMES.objects:
            readable(row[name])
        volume_of_row(row)
    except ValueError as error:
        raise CannotRecord(
            f"{volume.name} could not be read from the catalog again: {error}{_crowd(volume)}",
            "Dismount what is there, or end that process, then try again.",
        ) from error
    return row


def readable(value: object) -> None:
    """Raise ValueError when a column of JSON could not be read again."""
    read_json(json.dumps(value))


def _crowd(volume: Volume) -> str:
    return crowd_in_words(volume.adoption.points if volume.adoption is not None else ())


def _row_of_volume(volume: Volume) -> Row:
    mount = volume.mount
    return {
        "name": volume.name,
        "id": volume.id,
        "kind": volume.kind,
        "size_bytes": volume.size_bytes,
        "mount_path": mount.path,
        "filesystem": mount.filesystem,
        "mount_options": mount.options,
        "label": mount.label,
        "uuid": mount.uuid,
        "owner_uid": mount.owner_uid,
        "owner_gid": mount.owner_gid,
        "mode": mount.mode,
        "fstab": mount.fstab,
        "leg_urls": list(volume.leg_urls),
        "spare_urls": list(volume.spare_urls),
        "journal": str(volume.journal),
        "hold_timeout_seconds": volume.hold_timeout_seconds,
        "hang_timeout_seconds": volume.hang_timeout_seconds,
        "attached": volume.attached,
        "adoption": asdict(volume.adoption) if volume.adoption else None,
        "sector_bytes": volume.sector_bytes,
    }


def volume_of_row(row: Row) -> Volume:
    """The volume that this row describes. Raises ValueError when it describes none."""
    return typed(
        Volume,
        {
            "name": row["name"],
            "id": row["id"],
            "kind": row["kind"],
            "size_bytes": row["size_bytes"],
            "mount": {
                "path": row["mount_path"],
                "filesystem": row["filesystem"],
                "options": row["mount_options"],
                "label": row["label"],
                "uuid": row["uuid"],
                "owner_uid": row["owner_uid"],
                "owner_gid": row["owner_gid"],
                "mode": row["mode"],
                "fstab": row["fstab"],
            },
            "leg_urls": row["leg_urls"],
            "spare_urls": row["spare_urls"],
            "journal": row["journal"],
            "hold_timeout_seconds": row["hold_timeout_seconds"],
            "hang_timeout_seconds": row["hang_timeout_seconds"],
            "attached": row["attached"],
            "adoption": row["adoption"] or None,
            "sector_bytes": row["sector_bytes"],
        },
    )


def row_of_receipt(receipt: Receipt) -> Row:
    """The row that says the same as this receipt: columns and fields have the same names.

    It can always be written: what is too much is left out, and said to be.
    """
    values = receipt.as_json()
    for name in ("cause", "outcome", "verification"):
        values[name] = _cut(values[name])
    for name, instead in _LEFT_OUT.items():
        try:
            readable(values[name])
        except ValueError:
            values[name] = instead
    return values


_LEFT_OUT: Mapping[str, Any] = {
    "steps": [],
    "processes": [],
    "details": {"left_out": "more than the catalog can keep"},
}


def _cut(words: str) -> str:
    return words if len(words) <= _MOST_WORDS else f"{words[:_MOST_WORDS]} …"


def receipt_of_row(row: Row) -> Receipt:
    """The receipt that this row describes."""
    return receipt_from_json(row)


def row_of_restoration(restoration: Restoration) -> Row:
    """The row that says the same, without the steps' records: they have rows of their own."""
    return {
        "id": restoration.id,
        "volume": restoration.volume,
        "strategy": str(restoration.strategy),
        "cause": restoration.cause,
        "started": restoration.started,
        "stage": str(restoration.stage),
        "boot_id": restoration.boot_id,
        "deadline_ns": restoration.deadline_ns,
        "step_names": [str(name) for name in restoration.step_names],
        "facts": restoration.record,
    }


def restoration_of_rows(row: Row, steps: Sequence[Row]) -> Restoration:
    """The restoration that these rows describe. Raises ValueError when they describe none.

    Words that others wrote are as short as ours: what is read and written again stays the same.
    """
    found = typed(
        Restoration,
        {
            "id": row["id"],
            "volume": row["volume"],
            "strategy": row["strategy"],
            "cause": row["cause"],
            "started": row["started"],
            "stage": row["stage"],
            "boot_id": row["boot_id"],
            "deadline_ns": row["deadline_ns"],
            "step_names": row["step_names"],
            "record": row["facts"],
            "steps": [
                {name: step[name] for name in ("name", "state", "started", "seconds", "outcome")}
                for step in steps
            ],
        },
    )
    _check_steps(found)
    steps_told = tuple(replace(step, outcome=_cut(step.outcome)) for step in found.steps)
    return replace(found, steps=steps_told)


def _check_steps(restoration: Restoration) -> None:
    """Raise ValueError where steps are none of the plan's, or not in the one order."""
    names = restoration.step_names
    if not names or list(names) != [each for each in ORDER if each in names]:
        raise ValueError("its steps are no plan")
    recorded = [step.name for step in restoration.steps]
    if len(set(recorded)) < len(recorded) or not set(recorded) <= set(names):
        raise ValueError("steps are recorded that are not planned")


def row_of_step(restoration: str, step: StepRecord, number: int) -> Row:
    """The row of one step's record."""
    return {
        "restoration": restoration,
        "name": str(step.name),
        "number": number,
        "state": str(step.state),
        "started": step.started,
        "seconds": step.seconds,
        "outcome": _cut(step.outcome),
    }


def row_of_copy(copy: Copy) -> Row:
    """The row that says the same as this copy: columns and fields have the same names."""
    return {**asdict(copy), "urls": list(copy.urls)}


def copy_of_row(row: Row) -> Copy:
    """The copy that this row describes. Raises ValueError when it describes none."""
    return typed(Copy, row)
