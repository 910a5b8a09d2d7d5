"""The journal's hint: a position near its end, so that a takeover need not read a whole segment.

Owns the file `hint` in the journal's directory. Invariant: a hint is only ever a shortcut. It is
believed in the same boot, and by a reader who finds a valid record there; without it everything
works and takes longer. Nothing here ever fails.
"""

from __future__ import annotations

import contextlib
import os
import struct
import uuid
from pathlib import Path

from holdfast.gate.log.segment import PAGE_BYTES, SegmentHeader
from holdfast.system.boot import boot_id

HINT_INTERVAL_BYTES = 256 << 10
"""Distance of hints: a takeover reads at most about this much (well under a millisecond)."""

_NAME = "hint"
_HINT = struct.Struct("<16sQQ")
"""Boot id, segment number, position of a record."""


class Hint:
    """The hint in `directory`. Does not block beyond one small read or write."""

    def __init__(self, directory: Path) -> None:
        self._boot = uuid.UUID(boot_id()).bytes
        self._last_position = 0
        self._descriptor = -1
        with contextlib.suppress(OSError):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(directory / _NAME, flags, 0o600)

    def read(self, header: SegmentHeader) -> int | None:
        """Where a record of the segment with this header may be; None without a usable hint."""
        try:
            values = os.pread(self._descriptor, _HINT.size, 0)
        except OSError:
            return None
        if len(values) != _HINT.size:
            return None
        boot, number, position = _HINT.unpack(values)
        usable = boot == self._boot and number == header.number and position >= header.base
        return position if usable and position % PAGE_BYTES == header.base % PAGE_BYTES else None

    def expect_from(self, position: int) -> None:
        """The next record at or behind this position is worth a hint."""
        self._last_position = position - HINT_INTERVAL_BYTES

    def offer(self, number: int, position: int) -> None:
        """A record of that segment begins here: remembered when the last hint is far behind."""
        if position - self._last_position < HINT_INTERVAL_BYTES:
            return
        self._last_position = position
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, _HINT.pack(self._boot, number, position), 0)

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
