"""The end of a restoration: what is kept of it, and its receipt.

Invariant: its entry in the catalog is removed together with the writing of its receipt, and only
when nothing is left to be done. What comes after that (its directory) means nothing any more.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

from holdfast.adopted.properties import properties
from holdfast.catalog import Catalog
from holdfast.errors import HoldfastError, NotFound
from holdfast.model.receipt import Receipt
from holdfast.model.restoration import Copy, StepState
from holdfast.model.volume import Volume
from holdfast.mountpoints.capture import capture
from holdfast.restoration.performing.hidden import about_hidden
from holdfast.restoration.performing.receipts import receipt_of, verification_of
from holdfast.restoration.records.record import RestorationRecord
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.swap import switch_on
from holdfast.restoration.storage.directory import OLD_GATE, directory_of, forget_directory
from holdfast.restoration.storage.left_storage import marks_of
from holdfast.restoration.storage.making import remove


def finish(catalog: Catalog, work: Work, *, mounted: bool = True) -> Receipt:
    """Keep the volume as it is now, the old storage as a copy, and the receipt. Idempotent.

    `mounted`: it is mounted, not only recorded; after a restart of the host it is not.
    """
    identifier = work.restoration.id
    if mounted:
        switch_on(work)
    _keep_volume(catalog, work.new or work.old, mounted=mounted)
    if work.new is not None and work.left_containers:
        catalog.restorations.add_copy(_copy_of(work))
    catalog.ingest(directory_of(work.settings, identifier) / OLD_GATE / "spool")
    record = _with_hidden(work) if mounted else work.record
    failed = [step for step in work.restoration.steps if step.state is StepState.FAILED]
    receipt = receipt_of(
        work.restoration,
        record,
        "done" if not failed else f"done, but {failed[0].name} failed: {failed[0].outcome}",
        work.live.thawed_at,
        verification=verification_of(record),
        left=_left(work),
    )
    catalog.restorations.end(identifier, receipt)
    forget_directory(work.settings, identifier)
    return receipt


def undone(catalog: Catalog, work: Work, why: str, keep_record: bool = False) -> Receipt:
    """Take back what was prepared, write the receipt, forget the rest. Idempotent.

    `keep_record`: something could not be undone; `recover` tries again.
    """
    identifier, removed = work.restoration.id, ""
    switch_on(work)
    if work.new is not None and not keep_record:
        try:
            removed = remove(work.new_containers, work.intent.existed)
        except (HoldfastError, OSError) as error:
            removed = f"{', '.join(work.new_containers)} could not be removed: {error}"
    receipt = receipt_of(work.restoration, _with_hidden(work), f"undone: {why}", removed=removed)
    if not keep_record:
        catalog.restorations.end(identifier, receipt)
        forget_directory(work.settings, identifier)
    return receipt


def _with_hidden(work: Work) -> RestorationRecord:
    """The record, with what somebody made below the mounts while they were away. Not durable: it is
    for the receipt."""
    record = work.record
    if record.stopping is None or not record.stopping.frozen_at:
        return record
    found = about_hidden(record.points, record.stopping.frozen_at)
    return replace(record, findings=(*record.findings, *found))


def _keep_volume(catalog: Catalog, volume: Volume, *, mounted: bool) -> None:
    """Record it as it is now; one that is not in the catalog any more stays forgotten."""
    if volume.adoption is not None and mounted:
        with suppress(HoldfastError):
            volume = _as_mounted(volume)
    with suppress(NotFound):
        catalog.update(replace(volume, attached=True))


def _as_mounted(volume: Volume) -> Volume:
    """An adopted volume with its properties after the remount."""
    points = capture(volume.mount.path)
    mount, adoption = properties(points, volume.mount.path)
    recorded = volume.adoption
    assert recorded is not None
    return replace(
        volume,
        mount=replace(mount, label=mount.label or volume.mount.label),
        adoption=replace(
            adoption,
            source=recorded.source,
            loop_options=recorded.loop_options,
            super_options=recorded.super_options,
            left_gate=recorded.left_gate,
        ),
    )


def _left(work: Work) -> dict[str, Any] | None:
    """What is known of the storage that it leaves, and of the volume that has other storage now."""
    if work.new is None or not work.left_containers:
        return None
    return {"volume_id": work.new.id, "marks": marks_of(work.left_containers)}


def _copy_of(work: Work) -> Copy:
    """The old storage, which still has what the volume had until then."""
    old, restored = work.old, work.record.restored
    return Copy(
        id=work.restoration.id,
        volume=old.name,
        urls=work.left_containers,
        filesystem=old.mount.filesystem,
        uuid=old.mount.uuid,
        volume_id="" if old.adoption else old.id,
        made=time.time() if restored is None else restored.copied_until,
        origin=str(work.restoration.strategy),
    )
