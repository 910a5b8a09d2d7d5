"""Where the layers of an overlay lie: what its options say, and where names do not, its handles.

An overlay's file handle (struct ovl_fb of fs/overlayfs/overlayfs.h) holds the UUID of the file
system that an inode comes from; with AT_HANDLE_FID every overlay gives one out (Linux 6.6). Blocks
when the storage below does: for expendable children only.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import struct
import uuid
from contextlib import suppress

from holdfast.system.files.beneath import names_in, reopen
from holdfast.system.proc_text import unescaped

_LAYER = re.compile(r"(?:^|,)(?:lowerdir\+?|datadir\+?|upperdir|workdir)=((?:\\.|[^,\\])*)")
"""Options of overlayfs (Documentation/filesystems/overlayfs.rst)."""
_SEPARATOR = re.compile(r"(?<!\\):+")

_HANDLE_FID, _EMPTY_PATH = 0x200, 0x1000  # <linux/fcntl.h>
_MOST_BYTES = 128
"""MAX_HANDLE_SZ of <linux/exportfs.h>."""
_HEAD = struct.Struct("=Ii")
_OVERLAY_HANDLE = 0xF8  # OVL_FILEID_V1
_PARTS = struct.Struct("=3xBBBBB16s")
"""struct ovl_fh: padding, then version, magic, length, flags, type, UUID."""
_MAGIC = 0xFB
_MOST_NAMES = 1000
"""At an overlay's root; the names of a container's are some twenty."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def named_layers(options: str) -> list[str]:
    """The layers that an overlay's options (of a mount table) name, as it was told them: also such
    that are relative. Pure."""
    return [
        layer.replace("\\", "")
        for layers in _LAYER.findall(unescaped(os.fsencode(options)))
        for layer in _SEPARATOR.split(layers)
    ]


def origins_of(overlay: int) -> set[str]:
    """The UUIDs of the file systems that an overlay's root and the names in it come from.

    `overlay`: its root (O_PATH). A layer from which no such name comes is not found. Empty where
    the kernel does not tell. Raises OSError.
    """
    folder = reopen(overlay, os.O_RDONLY | os.O_DIRECTORY | os.O_NOATIME)
    try:
        names = itertools.islice(names_in(folder), _MOST_NAMES)
        found = {_origin(folder, name) for name in (b"", *names)}
    finally:
        os.close(folder)
    return found - {""}


def _origin(folder: int, name: bytes) -> str:
    buffer = ctypes.create_string_buffer(_HEAD.pack(_MOST_BYTES, 0), _HEAD.size + _MOST_BYTES)
    mount = ctypes.c_int()
    flags = _HANDLE_FID | (0 if name else _EMPTY_PATH)
    if _LIBC.name_to_handle_at(folder, name, buffer, ctypes.byref(mount), flags) != 0:
        return ""
    length, kind = _HEAD.unpack_from(buffer)
    if kind != _OVERLAY_HANDLE or length < _PARTS.size:
        return ""
    with suppress(struct.error):
        _, magic, _, _, _, origin = _PARTS.unpack_from(buffer.raw, _HEAD.size)
        if magic == _MAGIC:
            return str(uuid.UUID(bytes=origin))
    return ""
