"""System calls of 32-bit programs on x86-64, by the numbers that 64-bit ones have for the same.

Source: arch/x86/entry/syscalls/syscall_32.tbl and syscall_64.tbl. Those are here that somebody asks
for: calls that may wait, and calls about files. Pure, but for `has_32_bits`.
"""

from __future__ import annotations

import struct

from holdfast.system.proc import read

_AT_PHENT, _AT_SYSINFO = 4, 32
"""include/uapi/linux/auxvec.h; asm/auxvec.h: 32-bit programs alone have the second."""
_HEADER_BYTES = 32
"""sizeof(Elf32_Phdr)"""

SOCKETCALL, IPC = 102, 117
"""Each stands for many calls, by its first argument."""

_SAME = {
    **{0: 219, 1: 60, 2: 57, 3: 0, 4: 1, 5: 2, 6: 3, 7: 61, 8: 85, 9: 86, 10: 87, 11: 59, 12: 80},
    # restart_syscall exit fork read write open close waitpid creat link unlink execve chdir
    **{14: 133, 15: 90, 16: 94, 18: 4, 19: 8, 28: 5, 30: 132, 33: 21, 36: 162, 38: 82, 39: 83},
    # mknod chmod lchown stat lseek fstat utime access sync rename mkdir
    **{40: 84, 54: 16, 83: 88, 84: 6, 85: 89, 92: 76, 93: 77, 94: 91, 95: 93, 99: 137, 100: 138},
    # rmdir ioctl symlink lstat readlink truncate ftruncate fchmod fchown statfs fstatfs
    **{106: 4, 107: 6, 108: 5, 114: 61, 118: 74, 120: 56, 133: 81, 140: 8, 141: 78, 142: 23},
    # stat lstat fstat wait4 fsync clone fchdir _llseek getdents select
    **{143: 73, 144: 26, 145: 19, 146: 20, 148: 75, 162: 35, 168: 7, 177: 128, 180: 17, 181: 18},
    # flock msync readv writev fdatasync nanosleep poll rt_sigtimedwait pread64 pwrite64
    **{182: 92, 187: 40, 190: 58, 193: 76, 194: 77, 195: 4, 196: 6, 197: 5, 198: 94, 207: 93},
    # chown sendfile vfork truncate64 ftruncate64 stat64 lstat64 fstat64 lchown32 fchown32
    **{212: 92, 220: 217, 221: 72, 225: 187, **{226 + each: 188 + each for each in range(12)}},
    # chown32 getdents64 fcntl64 readahead, setxattr … fremovexattr
    **{239: 40, 240: 202, 247: 208, 250: 221, 256: 232, 268: 137, 269: 138, 271: 235, 272: 221},
    # sendfile64 futex io_getevents fadvise64 epoll_wait statfs64 fstatfs64 utimes fadvise64_64
    **{295 + each: 257 + each for each in range(13)},  # openat … faccessat
    **{314: 277, 319: 281, 320: 280, 324: 285, 333: 295, 334: 296, 337: 299, 344: 306, 345: 307},
    # sync_file_range epoll_pwait utimensat fallocate preadv pwritev recvmmsg syncfs sendmmsg
    **{353: 316, 358: 322, 362: 42, 364: 288, 369: 44, 370: 46, 371: 45, 372: 47, 378: 327},
    # renameat2 execveat connect accept4 sendto sendmsg recvfrom recvmsg preadv2
    **{379: 328, 383: 332, 412: 280, 417: 299, 420: 220, 421: 128},
    # pwritev2 statx utimensat_time64 recvmmsg_time64 semtimedop_time64 rt_sigtimedwait_time64
}
_FROM_HERE_ON_THE_SAME = 424
"""pidfd_send_signal(2): since then calls get one number for all machines."""


def number_for_64_bits(number: int) -> int:
    """What a 64-bit program calls the call with this number; -1: none that anybody asks for."""
    return number if number >= _FROM_HERE_ON_THE_SAME else _SAME.get(number, -1)


def has_32_bits(pid: int) -> bool:
    """Whether a process runs a 32-bit program (i386): told by the auxiliary vector in its memory,
    not by its program, which lies on storage. Raises OSError."""
    data = read(f"/proc/{pid}/auxv")
    pairs = dict(struct.iter_unpack("=II", data[: len(data) // 8 * 8]))
    return pairs.get(_AT_PHENT) == _HEADER_BYTES and _AT_SYSINFO in pairs
