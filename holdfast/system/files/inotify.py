"""inotify(7): watching more, watching less; and opening files by handle (open_by_handle_at(2)).

The instance may belong to another process. Looking a path up may block: on storage that may hang,
only an expendable child does it.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import struct
import termios

_LIBC = ctypes.CDLL(None, use_errno=True)


def add_watch(instance: int, path: str, mask: int) -> int:
    """Watch what is at the path; the watch's number. Raises OSError."""
    return _checked(_LIBC.inotify_add_watch(instance, os.fsencode(path), ctypes.c_uint32(mask)))


def remove_watch(instance: int, number: int) -> None:
    """Stop watching; an IN_IGNORED event follows. Raises OSError."""
    _checked(_LIBC.inotify_rm_watch(instance, number))


def unread_bytes(instance: int) -> int:
    """Bytes of events that wait to be read. Raises OSError."""
    count = array.array("i", [0])
    fcntl.ioctl(instance, termios.FIONREAD, count)
    return count[0]


def open_by_handle(directory: int, handle_type: int, handle: bytes) -> int:
    """Open (O_PATH) the inode with this handle on the file system that `directory` is open on.

    Needs CAP_DAC_READ_SEARCH. Raises OSError, ESTALE when there is no such inode any more.
    """
    # struct file_handle: handle_bytes, handle_type, f_handle
    data = struct.pack("<Ii", len(handle), handle_type) + handle
    return _checked(_LIBC.open_by_handle_at(directory, data, os.O_PATH | os.O_CLOEXEC))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
