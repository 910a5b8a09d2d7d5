"""Swap files of the volume: off before anybody is stopped, on again at the end, whatever it is."""

from __future__ import annotations

from holdfast.restoration.records.work import Work
from holdfast.restoration.storage.swap_files import (
    all_off,
    all_on,
    as_recorded,
    goes_along,
    swaps_on,
)
from holdfast.system.boot import boot_id


def switch_off(work: Work) -> None:
    """Switch off what lies on the volume, durably recorded first. Raises Blocked; those that are
    off by then are on again when this is given up."""
    if not goes_along(work.intent.mode, is_broken=work.intent.is_broken):
        return
    swaps = swaps_on(work.points)
    if swaps:
        work.remember(swaps=tuple(map(as_recorded, swaps)))
        all_off(swaps, work.say)


def switch_on(work: Work) -> None:
    """Switch on again what was switched off, where the volume is mounted now; told where that
    cannot be. Idempotent, raises nothing."""
    if work.restoration.boot_id == boot_id():
        work.tell(all_on(work.record.swaps))
