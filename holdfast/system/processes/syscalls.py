"""Numbers of the system calls that are made inside other processes, for each machine.

Source: asm/unistd_64.h (x86-64), asm-generic/unistd.h (arm64).
"""

from __future__ import annotations

import platform

from holdfast.errors import MissingTool

_X86_64 = {
    "close": 3,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "madvise": 28,
    "getpid": 39,
    "socket": 41,
    "connect": 42,
    "recvmsg": 47,
    "listen": 50,
    "socketpair": 53,
    "clone": 56,
    "exit": 60,
    "wait4": 61,
    "fcntl": 72,
    "flock": 73,
    "ftruncate": 77,
    "fchdir": 81,
    "capset": 126,
    "mlock": 149,
    "prctl": 157,
    "chroot": 161,
    "restart_syscall": 219,
    "clock_gettime": 228,
    "epoll_ctl": 233,
    "inotify_add_watch": 254,
    "inotify_rm_watch": 255,
    "openat": 257,
    "ppoll": 271,
    "unshare": 272,
    "dup3": 292,
    "inotify_init1": 294,
    "prlimit64": 302,
    "memfd_create": 319,
    "mlock2": 325,
    "pkey_mprotect": 329,
    "close_range": 436,
}

_ARM64 = {
    "dup3": 24,
    "fcntl": 25,
    "inotify_init1": 26,
    "inotify_add_watch": 27,
    "inotify_rm_watch": 28,
    "flock": 32,
    "epoll_ctl": 21,
    "ftruncate": 46,
    "fchdir": 50,
    "chroot": 51,
    "openat": 56,
    "close": 57,
    "lseek": 62,
    "exit": 93,
    "unshare": 97,
    "ppoll": 73,
    "capset": 91,
    "clock_gettime": 113,
    "restart_syscall": 128,
    "rt_sigaction": 134,
    "rt_sigprocmask": 135,
    "prctl": 167,
    "getpid": 172,
    "socket": 198,
    "socketpair": 199,
    "listen": 201,
    "connect": 203,
    "recvmsg": 212,
    "brk": 214,
    "munmap": 215,
    "clone": 220,
    "mmap": 222,
    "mprotect": 226,
    "mlock": 228,
    "madvise": 233,
    "wait4": 260,
    "prlimit64": 261,
    "memfd_create": 279,
    "mlock2": 284,
    "pkey_mprotect": 288,
    "close_range": 436,
}

NUMBERS = {"x86_64": _X86_64, "aarch64": _ARM64}


def number_of(name: str, machine: str = "") -> int:
    """The number of a system call on this machine (uname -m). Raises MissingTool elsewhere."""
    machine = machine or platform.machine()
    if machine not in NUMBERS:
        raise MissingTool(
            f"system calls cannot be made inside processes on {machine}",
            "Use x86-64.",
        )
    return NUMBERS[machine][name]
