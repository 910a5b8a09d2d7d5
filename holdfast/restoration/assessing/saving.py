"""Whether what is only in memory is saved, if the storage fails or has failed. Pure."""

from __future__ import annotations

from holdfast.model.plan import DAMAGED_CONTENTS, Strategy
from holdfast.restoration.assessing.databases import databases_among
from holdfast.restoration.assessing.facts import Facts
from holdfast.system.storage.filesystem import KINDS


def saves_writes(facts: Facts) -> bool:
    """Whether flush is to do it; it does nothing where the storage is well.

    Not for a gated volume, whose journal has the writes, nor for types whose server has them (FUSE,
    NFS). Not where a database is at work: pages of today among those of yesterday are none. Not
    after damage, of which memory has as much.
    """
    request = facts.request
    volume = request.volume
    if not request.saves_writes or not volume.is_adopted or volume.mount.filesystem not in KINDS:
        return False
    if request.strategy not in (None, Strategy.REMOUNT, Strategy.REWIND):
        return False
    if not request.contents:
        return facts.is_broken and not request.url
    return request.cause not in DAMAGED_CONTENTS and not databases_among(facts.users)
