"""What killed processes still have open that cannot end, as a thread of each hangs in the kernel.

Their locks and exclusive claims last as long as the hang, and can be had with a copy of the
descriptor. Looks at /proc and at tables of descriptors only: what one leads to is never touched, as
it may be what hangs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress

from holdfast.late_dataclass import dataclass
from holdfast.system.proc import read_record
from holdfast.system.processes.process import copy_descriptor
from holdfast.system.processes.process_state import all_threads_of, is_exiting


@dataclass(frozen=True)
class LeftOpen:
    """A descriptor of a thread that hangs."""

    thread_id: int
    number: int

    def take(self) -> int | None:
        """A copy of it, with its lock, for the caller to close; None: it is gone. Whoever has this
        number now may be another thread: look what the copy leads to. Raises OSError (EMFILE …)."""
        try:
            return copy_descriptor(self.thread_id, self.number)
        except (FileNotFoundError, ProcessLookupError):
            return None
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            return None


def left_open(pid: int, shown_as: str) -> list[LeftOpen] | None:
    """Descriptors of a killed process that /proc shows as leading there.

    None while a thread is inside one of them, where it may still write, or may be so for all that
    is known. No thread of it comes to be inside one later.
    """
    found: dict[int, int] = {}
    inside: set[int] = set()
    try:
        for thread_id in all_threads_of(pid):
            if is_exiting(pid, thread_id):
                continue
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                call = read_record(f"/proc/{pid}/task/{thread_id}/syscall").split()
                if call[0] == b"running":
                    return None
                if call[0] != b"-1":  # else it waits outside of any system call
                    inside |= {int(word, 16) & 0xFFFFFFFF for word in call[1:3]}
                for number in _numbers(f"/proc/{pid}/task/{thread_id}/fd", shown_as):
                    found.setdefault(number, thread_id)
    except (OSError, ValueError, IndexError):
        return None
    if inside & found.keys():
        return None
    return [LeftOpen(thread_id, number) for number, thread_id in found.items()]


def _numbers(folder: str, shown_as: str) -> Iterator[int]:
    """Raises OSError."""
    for name in os.listdir(folder):  # noqa: PTH208 - numbers, not paths
        with suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(f"{folder}/{name}") == shown_as:  # noqa: PTH115 - a plain system call
                yield int(name)
