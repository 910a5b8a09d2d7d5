"""Giving the memory of another process back to the kernel (process_madvise, MADV_PAGEOUT).

Needs CAP_SYS_NICE and the right to trace that process. May block as storage does: dirty pages of
files and pages that go to swap are written. Call it in an expendable child.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator

from holdfast.system.proc import read
from holdfast.system.proc_text import parse_maps, parse_swaps
from holdfast.system.raw_call import raw_call

_SYS_PROCESS_MADVISE = 440
"""process_madvise(2), Linux 5.10; the same number on every architecture."""

_MADV_PAGEOUT = 21  # <asm-generic/mman-common.h>, Linux 5.4
_NOT_HERE = frozenset({errno.EINVAL, errno.ENOMEM, errno.EBADF})
"""Locked, huge or device memory, and ranges that were unmapped meanwhile, are passed over."""


_OF_THE_KERNEL = ("[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]")


class _Range(ctypes.Structure):
    _fields_ = (("address", ctypes.c_void_p), ("length", ctypes.c_size_t))


def page_out(pid: int, descriptor: int) -> int:
    """Ask for every page of a process to be reclaimed; how many bytes were asked for.

    `descriptor`: of that process. Pages that others map too stay. Without swap only pages of files
    can go. Raises OSError: ESRCH (gone), EPERM, ENOSYS.
    """
    asked = 0
    for start, end in _ranges(pid):
        vector = _Range(start, end - start)
        address, length = ctypes.byref(vector), ctypes.c_size_t(1)
        try:
            asked += raw_call(
                _SYS_PROCESS_MADVISE, descriptor, address, length, _MADV_PAGEOUT, ctypes.c_uint(0),
                about=f"memory of process {pid}",
            )  # fmt: skip
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
    return asked


def swap_bytes() -> int:
    """How much swap the host has, used or not; 0: anonymous memory cannot go anywhere."""
    return sum(swap.size_bytes for swap in parse_swaps(read("/proc/swaps")))


def _ranges(pid: int) -> Iterator[tuple[int, int]]:
    for each in parse_maps(read(f"/proc/{pid}/maps")):
        if each.path not in _OF_THE_KERNEL:
            yield each.start, each.end
