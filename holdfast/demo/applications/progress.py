"""The progress file: what an application has done, readable at any moment, also after kill -9.

Owned by one writer, the application; a shared memory map outside of the volume. Invariant:
`acknowledged` never runs ahead of what the application knows to be durable. Times are
CLOCK_MONOTONIC nanoseconds, which are the same in every process of the host.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

from holdfast.late_dataclass import dataclass

_FIELDS = (
    "acknowledged",
    "operations",
    "errors",
    "longest_wait_ns",
    "longest_wait_at_ns",
    "window_wait_ns",
    "window_wait_at_ns",
    "waiting_since_ns",
)
_OFFSETS = {name: index * 8 for index, name in enumerate(_FIELDS)}
_NUMBER = struct.Struct("<Q")
SIZE_BYTES = 4096


@dataclass(frozen=True)
class Snapshot:
    """The progress of one application at one moment."""

    acknowledged: int
    """Number of the last operation known to be durable; operations are numbered from 1."""
    operations: int
    errors: int
    longest_wait_ns: int
    longest_wait_at_ns: int
    """When the longest operation began."""
    window_wait_ns: int
    """The longest wait since `Progress.begin_window`."""
    window_wait_at_ns: int
    waiting_since_ns: int
    """When the operation that is under way began; 0 between two operations."""


class Progress:
    """The progress file at `path`; made when absent, kept when present."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(descriptor, SIZE_BYTES)
            self._memory = mmap.mmap(descriptor, SIZE_BYTES)
        finally:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unmap the file; the file stays."""
        self._memory.close()

    def read(self) -> Snapshot:
        """The progress now."""
        return Snapshot(*(self._get(name) for name in _FIELDS))

    def begin_window(self) -> None:
        """Forget the longest wait of the window, so that the next one can be read by itself."""
        self._set("window_wait_ns", 0)

    def begin(self, now_ns: int) -> None:
        """An operation begins."""
        self._set("waiting_since_ns", now_ns)

    def acknowledge(self, number: int) -> None:
        """Every operation up to `number` is durable."""
        self._set("acknowledged", number)

    def fail(self) -> None:
        """The operation under way got an error."""
        self._set("errors", self._get("errors") + 1)

    def finish(self, now_ns: int) -> None:
        """The operation under way has ended; its duration counts as a wait."""
        began_ns = self._get("waiting_since_ns")
        wait_ns = now_ns - began_ns
        self._set("waiting_since_ns", 0)
        self._set("operations", self._get("operations") + 1)
        for span in ("longest", "window"):
            if wait_ns > self._get(f"{span}_wait_ns"):
                self._set(f"{span}_wait_ns", wait_ns)
                self._set(f"{span}_wait_at_ns", began_ns)

    def _get(self, name: str) -> int:
        return int(_NUMBER.unpack_from(self._memory, _OFFSETS[name])[0])

    def _set(self, name: str, value: int) -> None:
        _NUMBER.pack_into(self._memory, _OFFSETS[name], value)
