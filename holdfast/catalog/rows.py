"""Turns rows into model values and back, field by field.

Owns the one place where a column meets a field. Must never query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from holdfast.catalog.tables import (
    CopyRow,
    ReceiptRow,
    RestorationRow,
    RestorationStepRow,
    VolumeRow,
)
from holdfast.model.bounded import typed
from holdfast.model.receipt import Receipt, receipt_from_json
from holdfast.model.restoration import Copy, Restoration, StepRecord
from holdfast.model.volume import Volume


def row_of_volume(volume: Volume) -> VolumeRow:
    """The row that says the same as this volume."""
    mount = volume.mount
    return VolumeRow(
        name=volume.name,
        id=volume.id,
        kind=volume.kind,
        size_bytes=volume.size_bytes,
        mount_path=mount.path,
        filesystem=mount.filesystem,
        mount_options=mount.options,
        label=mount.label,
        uuid=mount.uuid,
        owner_uid=mount.owner_uid,
        owner_gid=mount.owner_gid,
        mode=mount.mode,
        fstab=mount.fstab,
        leg_urls=list(volume.leg_urls),
        spare_urls=list(volume.spare_urls),
        journal=str(volume.journal),
        hold_timeout_seconds=volume.hold_timeout_seconds,
        hang_timeout_seconds=volume.hang_timeout_seconds,
        attached=volume.attached,
        adoption=asdict(volume.adoption) if volume.adoption else None,
        sector_bytes=volume.sector_bytes,
    )


def volume_of_row(row: VolumeRow) -> Volume:
    """The volume that this row describes. Raises ValueError when it describes none."""
    return typed(
        Volume,
        {
            "name": row.name,
            "id": row.id,
            "kind": row.kind,
            "size_bytes": row.size_bytes,
            "mount": {
                "path": row.mount_path,
                "filesystem": row.filesystem,
                "options": row.mount_options,
                "label": row.label,
                "uuid": row.uuid,
                "owner_uid": row.owner_uid,
                "owner_gid": row.owner_gid,
                "mode": row.mode,
                "fstab": row.fstab,
            },
            "leg_urls": row.leg_urls,
            "spare_urls": row.spare_urls,
            "journal": row.journal,
            "hold_timeout_seconds": row.hold_timeout_seconds,
            "hang_timeout_seconds": row.hang_timeout_seconds,
            "attached": row.attached,
            "adoption": row.adoption or None,
            "sector_bytes": row.sector_bytes,
        },
    )


def row_of_receipt(receipt: Receipt) -> ReceiptRow:
    """The row that says the same as this receipt: columns and fields have the same names."""
    return ReceiptRow(**receipt.as_json())


def receipt_of_row(row: ReceiptRow) -> Receipt:
    """The receipt that this row describes."""
    return receipt_from_json(
        {column.name: getattr(row, column.name) for column in ReceiptRow.__table__.columns}
    )


def row_of_restoration(restoration: Restoration) -> RestorationRow:
    """The row that says the same, without the steps' records: they have rows of their own."""
    return RestorationRow(
        id=restoration.id,
        volume=restoration.volume,
        strategy=str(restoration.strategy),
        cause=restoration.cause,
        started=restoration.started,
        stage=str(restoration.stage),
        boot_id=restoration.boot_id,
        deadline_ns=restoration.deadline_ns,
        step_names=[str(name) for name in restoration.step_names],
        facts=restoration.record,
    )


def restoration_of_rows(row: RestorationRow, steps: Sequence[RestorationStepRow]) -> Restoration:
    """The restoration that these rows describe. Raises ValueError when they describe none."""
    return typed(
        Restoration,
        {
            "id": row.id,
            "volume": row.volume,
            "strategy": row.strategy,
            "cause": row.cause,
            "started": row.started,
            "stage": row.stage,
            "boot_id": row.boot_id,
            "deadline_ns": row.deadline_ns,
            "step_names": row.step_names,
            "record": row.facts,
            "steps": [
                {
                    "name": step.name,
                    "state": step.state,
                    "started": step.started,
                    "seconds": step.seconds,
                    "outcome": step.outcome,
                }
                for step in steps
            ],
        },
    )


def row_of_step(restoration: str, step: StepRecord, number: int) -> RestorationStepRow:
    """The row of one step's record."""
    return RestorationStepRow(
        restoration=restoration,
        name=str(step.name),
        number=number,
        state=str(step.state),
        started=step.started,
        seconds=step.seconds,
        outcome=step.outcome,
    )


def row_of_copy(copy: Copy) -> CopyRow:
    """The row that says the same as this copy: columns and fields have the same names."""
    return CopyRow(**{**asdict(copy), "urls": list(copy.urls)})


def copy_of_row(row: CopyRow) -> Copy:
    """The copy that this row describes. Raises ValueError when it describes none."""
    return typed(
        Copy, {column.name: getattr(row, column.name) for column in CopyRow.__table__.columns}
    )
