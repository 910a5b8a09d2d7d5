"""Names that come and go in a directory without a trace in its times."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.system.files.beneath import path_to


@contextmanager
def times_kept(directory: int) -> Iterator[None]:
    """Names that come or go within the context leave no trace in the times of a directory, which
    may be an O_PATH descriptor. Raises OSError."""
    times = os.fstat(directory)
    try:
        yield
    finally:
        os.utime(path_to(directory), ns=(times.st_atime_ns, times.st_mtime_ns))
