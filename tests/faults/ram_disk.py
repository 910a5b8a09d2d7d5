"""A block device of the host that is no loop device: zram, which keeps its blocks in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CONTROL = Path("/sys/class/zram-control")
_SECONDS = 10.0


def has_ram_disks() -> bool:
    """Whether this host can make one."""
    return (_CONTROL / "hot_add").exists()


@contextmanager
def ram_disk(size_bytes: int) -> Iterator[Path]:
    """The device, which reads as zeros and has sectors of 4096 bytes; taken away afterwards."""
    number = (_CONTROL / "hot_add").read_text().strip()
    folder = Path(f"/sys/block/zram{number}")
    try:
        (folder / "disksize").write_text(str(size_bytes))
        yield Path(f"/dev/zram{number}")
    finally:
        deadline = time.monotonic() + _SECONDS
        while True:
            try:  # whoever looks at every block device has it open for moments
                (_CONTROL / "hot_remove").write_text(number)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
