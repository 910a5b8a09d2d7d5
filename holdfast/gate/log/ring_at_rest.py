"""What the ring of a gate that does not run still has."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from holdfast.gate.log.ring import Ring
from holdfast.gate.log.ring_layout import PlainReserver


class KeptRecords(NamedTuple):
    """What a ring has, of a gate that does not run."""

    begin: int
    end: int
    carried: int
    """As `Ring.carried`; -1 also where the history was not told all that the legs have."""


def kept_records(path: Path, volume_id: str) -> KeptRecords | None:
    """Of a volume, which the next gate goes on with; None: it would find nothing. Changes nothing.

    Raises NewerFormat, OSError.
    """
    ring = Ring(path, volume_id, PlainReserver())
    if not ring.find(0):
        return None
    return KeptRecords(ring.begin, ring.end, -1 if ring.unsettled else ring.carried)
