"""Turns rows into model values and back, field by field.

Owns the one place where a column meets a field. Must never query.
"""

from __future__ import annotations

from holdfast.catalog.tables import ReceiptRow, VolumeRow
from holdfast.model.receipt import Receipt, receipt_from_json
from holdfast.model.volume import JournalMode, MountProperties, Volume


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
    )


def volume_of_row(row: VolumeRow) -> Volume:
    """The volume that this row describes."""
    return Volume(
        name=row.name,
        id=row.id,
        kind=row.kind,
        size_bytes=row.size_bytes,
        mount=MountProperties(
            path=row.mount_path,
            filesystem=row.filesystem,
            options=row.mount_options,
            label=row.label,
            uuid=row.uuid,
            owner_uid=row.owner_uid,
            owner_gid=row.owner_gid,
            mode=row.mode,
            fstab=row.fstab,
        ),
        leg_urls=tuple(row.leg_urls),
        spare_urls=tuple(row.spare_urls),
        journal=JournalMode(row.journal),
        hold_timeout_seconds=row.hold_timeout_seconds,
        hang_timeout_seconds=row.hang_timeout_seconds,
        attached=row.attached,
    )


def row_of_receipt(receipt: Receipt) -> ReceiptRow:
    """The row that says the same as this receipt: columns and fields have the same names."""
    return ReceiptRow(**receipt.as_json())


def receipt_of_row(row: ReceiptRow) -> Receipt:
    """The receipt that this row describes."""
    return receipt_from_json(
        {column.name: getattr(row, column.name) for column in ReceiptRow.__table__.columns}
    )
