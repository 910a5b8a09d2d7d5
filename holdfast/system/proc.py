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

from holdfast.late_dataclass import dataclass
from holdfast.system.proc_text import parse_stat

_CHUNK_BYTES = 1 << 16

_RECORD_BYTES = 1 << 12
"""Most are shorter; whatever is not is read further."""

_ADDRESS_SPACE = re.compile(rb"^Max address space\s+(\w+)", re.MULTILINE)
_MOST_DESCRIPTORS = re.compile(rb"^Max open files\s+(\w+)\s+(\w+)", re.MULTILINE)


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
    stat = parse_stat(read_record(f"/proc/{pid}/stat"))
    return ProcessFacts(
        pid=pid,
        name=stat.name,
        state=stat.state,
        kernel_thread=stat.kernel_thread,
        threads=stat.threads,
        start_time=stat.start_time,
    )


def name_of(pid: int) -> str:
    """The name of a process or thread, up to 15 bytes that it chooses itself. Raises OSError."""
    return os.fsdecode(read_record(f"/proc/{pid}/comm").removesuffix(b"\n"))


def descriptor_limit(pid: int) -> tuple[int, int]:
    """How many descriptors a process may have: soft and hard limit, proc_pid_limits(5).

    Raises ProcessLookupError when it has ended.
    """
    found = _MOST_DESCRIPTORS.search(read_record(f"/proc/{pid}/limits"))
    if found is not None:
        return _limit(found[1]), _limit(found[2])
    raise ProcessLookupError(errno.ESRCH, f"process {pid} has ended")


def address_space_limit(pid: int) -> int:
    """How many bytes of address space a process may have: the soft limit, RLIMIT_AS.

    Raises ProcessLookupError when it has ended.
    """
    found = _ADDRESS_SPACE.search(read_record(f"/proc/{pid}/limits"))
    if found is None:
        raise ProcessLookupError(errno.ESRCH, f"process {pid} has ended")
    return _limit(found[1])


def _limit(word: bytes) -> int:
    """RLIM_INFINITY as prlimit(2) takes it."""
    return (1 << 64) - 1 if word == b"unlimited" else int(word)
