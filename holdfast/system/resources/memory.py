"""Memory discipline of a process that serves the kernel's write-back.

Such a process must never wait for memory: the kernel may free memory only by writing back through
it. Its pages are locked, its allocations are marked as those of an I/O flusher, and it is the last
to be killed when memory runs out.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys

_LIBC = ctypes.CDLL(None, use_errno=True)
_MCL_CURRENT, _MCL_FUTURE = 1, 2  # <sys/mman.h>
_PR_SET_IO_FLUSHER, _PR_GET_IO_FLUSHER = 57, 58  # <linux/prctl.h>, Linux 5.6
_MADV_WIPEONFORK = 18  # <asm-generic/mman-common.h>, Linux 4.14
_OOM_NEVER = -1000  # proc(5), oom_score_adj
_ARENA_BYTES = 1 << 20  # ARENA_SIZE, Include/internal/pycore_obmalloc.h: mapped at a time
_OBJECT_BYTES = 512  # SMALL_REQUEST_THRESHOLD, ibid.: the largest object that lies in one


def lock_all_memory() -> None:
    """Lock present and future pages (mlockall). Raises OSError without CAP_IPC_LOCK."""
    if _LIBC.mlockall(_MCL_CURRENT | _MCL_FUTURE):
        code = ctypes.get_errno()
        raise OSError(code, f"mlockall: {os.strerror(code)}")


def reserve_for_objects(size_bytes: int) -> list[bytes]:
    """Have the interpreter map so much for objects now, and keep it as long as the value is kept.

    It would unmap what is empty: two objects in each piece that it maps at a time stay.
    """
    length = _OBJECT_BYTES - sys.getsizeof(b"")
    objects = [bytes(length) for _ in range(size_bytes // _OBJECT_BYTES)]
    return objects[:: _ARENA_BYTES // _OBJECT_BYTES // 2]


def become_io_flusher() -> None:
    """Tell the kernel that this thread serves write-back: PR_SET_IO_FLUSHER of prctl(2).

    Threads and processes that it starts inherit that. Raises OSError without CAP_SYS_RESOURCE.
    """
    if _LIBC.prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, f"PR_SET_IO_FLUSHER: {os.strerror(code)}")


def is_io_flusher() -> bool:
    """Whether this thread has been marked so; False where one may not even ask."""
    return bool(_LIBC.prctl(_PR_GET_IO_FLUSHER, 0, 0, 0, 0) == 1)


def never_kill_for_memory() -> None:
    """Exempt this process from the out-of-memory killer. Raises OSError without rights."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(_OOM_NEVER))
    except OSError as error:
        raise OSError(error.errno, f"oom_score_adj: {error.strerror}") from error


def serve_write_back() -> list[OSError]:
    """What a process owes to the kernel that serves its write-back; which of it was refused."""
    refused = []
    for measure in (become_io_flusher, never_kill_for_memory):
        try:
            measure()
        except OSError as error:
            refused.append(error)
    return refused


def aligned_buffer(size_bytes: int) -> mmap.mmap:
    """Page-aligned private memory, present from the start; a forked child sees zeros there.

    No page is shared with a child: a fork would write-protect it, and a process that is killed
    while the kernel copies a request into a page that must first be faulted in turns that request
    into EIO for the application. But the place stays taken in the child (MADV_DONTFORK would leave
    a hole): it has this object too, and what it mapped there would be unmapped with it.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    buffer = mmap.mmap(-1, size_bytes, flags=flags)
    buffer.madvise(_MADV_WIPEONFORK)
    return buffer


def resident_bytes(pid: int) -> int:
    """Resident memory of a process in bytes, 0 when it is gone (proc_pid_statm(5))."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except (OSError, IndexError):
        return 0


def available_bytes() -> int:
    """Memory that the host could give without swapping (MemAvailable, proc(5)); 0: not known."""
    try:
        with open("/proc/meminfo") as file:
            told = dict(line.split(":", 1) for line in file)
        return int(told["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return 0
