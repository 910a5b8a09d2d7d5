"""How a loop device was set up, as sysfs tells it. Does not touch the device or its file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_SYS_BLOCK = Path("/sys/class/block")


class LoopAttributes(NamedTuple):
    """What losetup(8) can be told."""

    offset_bytes: int
    """Where in the file the device begins."""
    limit_bytes: int
    """How much of the file it shows; 0: all of it."""
    sector_bytes: int
    is_read_only: bool
    is_autoclear: bool
    """Detached with its last user."""


def loop_attributes(name: str) -> LoopAttributes:
    """Those of `loopN`. Raises OSError where nothing is attached."""
    folder = _SYS_BLOCK / name
    return LoopAttributes(
        int((folder / "loop/offset").read_text()),
        int((folder / "loop/sizelimit").read_text()),
        int((folder / "queue/logical_block_size").read_text()),
        (folder / "ro").read_text().strip() == "1",
        (folder / "loop/autoclear").read_text().strip() == "1",
    )
