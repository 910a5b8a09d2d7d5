"""A file of a volume that the host swaps to, as it was before it was switched off."""

from __future__ import annotations

from holdfast.late_dataclass import dataclass


@dataclass(frozen=True)
class SwapFile:
    """Field names and meaning: proc_swaps(5)."""

    path: str
    file_bytes: int
    """Size of the file, in which the area is."""
    priority: int
