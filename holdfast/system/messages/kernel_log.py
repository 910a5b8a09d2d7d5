"""The kernel's own messages, as /dev/kmsg has them: what the kernel said, and nothing else.

Owns that nobody else's words are taken for the kernel's: what programs write into the log carries
another facility (kernel/printk/printk.c, devkmsg_write), and the end of a message that was torn
apart, which may begin with a name that somebody chose, is marked. Never blocks.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import NamedTuple

_LOG = Path("/dev/kmsg")
_RECORD_BYTES = 8192
"""More than one record takes (PRINTKRB_RECORD_MAX is 1024, escaped up to four times)."""

_PREFIX = re.compile(
    rb"([0-9]{1,10}),[0-9]{1,20},([0-9]{1,18}),([^;,\n]{1,8})[^;\n]{0,200};([^\n]*)"
)
_FRAGMENT = b"c"
_MOST_RECORDS = 100_000
"""At one time: a log of the usual size has some thousands."""


class KernelMessage(NamedTuple):
    """One message of the kernel's."""

    seconds: float
    """Since the boot, by the clock that CLOCK_MONOTONIC is made from."""
    text: str
    """Without a line end; what the kernel escaped (`\\x0a`) is still escaped."""


def parse_record(record: bytes) -> KernelMessage | None:
    """A record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg). Pure.

    None: not a message of the kernel's own, or only the end of one.
    """
    match = _PREFIX.match(record)
    if match is None or int(match[1]) >> 3 != 0 or match[3] == _FRAGMENT:
        return None
    return KernelMessage(int(match[2]) / 1e6, match[4].decode("utf-8", "replace"))


class KernelLog:
    """The log from its beginning on, as far as the kernel still has it."""

    def __init__(self, path: Path = _LOG) -> None:
        """Raises OSError: there is none (a container), or not for us."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """For poll(2): readable when something was said."""
        return self._descriptor

    def read(self) -> list[KernelMessage]:
        """What was said since the last time; what the kernel has overwritten meanwhile is lost."""
        found = []
        for _ in range(_MOST_RECORDS):
            try:
                record = os.read(self._descriptor, _RECORD_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in (errno.EPIPE, errno.EINVAL):  # overwritten; longer than we take
                    continue
                break
            if not record:
                break
            said = parse_record(record)
            if said is not None:
                found.append(said)
        return found

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
