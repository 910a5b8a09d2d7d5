"""Reading /proc quickly: whole files, links and names, by text paths.

What is read here never touches storage, but `maps`, `cmdline` and `environ` wait for the memory
lock of a process that may itself hang: read those in an expendable child. Every function raises
OSError (FileNotFoundError, ProcessLookupError) when the process has ended meanwhile.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_CHUNK_BYTES = 1 << 16

_RECORD_BYTES = 1 << 12
"""Most are shorter; whatever is not is read further."""

_MOST_DESCRIPTORS = re.compile(rb"^Max open files\s+(\w+)\s+(\w+)", re.MULTILINE)

_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD, include/linux/sched.h."""


def read(path: str) -> bytes:
    """A whole file of /proc."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        part = os.read(descriptor, _CHUNK_BYTES)
        whole = part
        while part:
            part = os.read(descriptor, _CHUNK_BYTES)
            whole += part
        return whole
    finally:
        os.close(descriptor)


def read_record(path: str, folder: int | None = None) -> bytes:
    """As `read`, with one read(2) where that is enough: for what the kernel prints in one go.

    That is what single_open() of fs/seq_file.c serves: stat, status, io, limits, cgroup, fdinfo; a
    short read is the end of those. `path` is relative to `folder`, where that is given.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        part = os.read(descriptor, _RECORD_BYTES)
        whole = part
        while len(part) == _RECORD_BYTES:
            part = os.read(descriptor, _RECORD_BYTES)
            whole += part
        return whole
    finally:
        os.close(descriptor)


@contextmanager
def opened_folder(path: str) -> Iterator[int]:
    """A folder of /proc as a descriptor: what is in it is found more quickly than by path.

    It stays with its process: when that ends, nothing is found, whoever gets its number.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def link(path: str) -> str:
    """Where a link of /proc points to, in the kernel's words; the target is not looked at."""
    return os.readlink(path)  # noqa: PTH115 - thousands of times


def names(path: str) -> list[str]:
    """The names in a folder of /proc."""
    return os.listdir(path)  # noqa: PTH208 - thousands of times


def process_ids() -> list[int]:
    """Every process that is visible from here, kernel threads too."""
    return [int(name) for name in names("/proc") if name.isdigit()]


@dataclass(frozen=True)
class ProcessFacts:
    """What /proc/PID/stat says (proc_pid_stat(5))."""

    pid: int
    name: str
    state: str
    kernel_thread: bool
    threads: int
    start_time: int
    """Clock ticks after boot."""


def process_facts(pid: int) -> ProcessFacts:
    """The facts of one process."""
    text = read_record(f"/proc/{pid}/stat")
    opening, closing = text.index(b"("), text.rindex(b")")
    fields = text[closing + 2 :].split()  # from field 3, the state, on
    return ProcessFacts(
        pid=pid,
        name=os.fsdecode(text[opening + 1 : closing]),
        state=fields[0].decode(),
        kernel_thread=bool(int(fields[6]) & _KERNEL_THREAD),
        threads=int(fields[17]),
        start_time=int(fields[19]),
    )


def descriptor_limit(pid: int) -> tuple[int, int]:
    """How many descriptors a process may have: soft and hard limit, proc_pid_limits(5).

    Raises ProcessLookupError when it has ended.
    """
    found = _MOST_DESCRIPTORS.search(read_record(f"/proc/{pid}/limits"))
    if found is not None:
        return _limit(found[1]), _limit(found[2])
    raise ProcessLookupError(errno.ESRCH, f"process {pid} has ended")


def _limit(word: bytes) -> int:
    """RLIM_INFINITY as prlimit(2) takes it."""
    return (1 << 64) - 1 if word == b"unlimited" else int(word)
