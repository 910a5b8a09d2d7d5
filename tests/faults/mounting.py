"""mount(2) and umount2(2) for injectors, and images, without any of Holdfast's own code."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import subprocess
from pathlib import Path

MNT_DETACH = 2
MS_NOSUID = 2
MS_NODEV = 4

_LOOP_CONFIGURE, _LOOP_CTL_GET_FREE = 0x4C0A, 0x4C82  # <linux/loop.h>
_LOOP_CONFIG = struct.Struct("=II52xI176x64x")
"""struct loop_config: descriptor, block size, and of struct loop_info64 its flags."""
_AUTOCLEAR = 4  # LO_FLAGS_AUTOCLEAR

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path, kind: str, options: str, flags: int = 0) -> None:
    """Mount, or raise OSError."""
    result = _libc.mount(
        source.encode(), str(target).encode(), kind.encode(), flags, options.encode()
    )
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def unmount(target: Path) -> bool:
    """Detach the topmost mount at `target` from the tree; False when there is none."""
    return bool(_libc.umount2(str(target).encode(), MNT_DETACH) == 0)


def mount_image(image: Path | str, path: Path | str, *options: str) -> None:
    """What mount(8) does for its option `loop`, but that nobody else's loop device is asked.

    It asks each what its file is, and waits where one hangs: a test beside this one may have it so.
    """
    device, loop = _attach(str(image), os.O_RDONLY if "ro" in options else os.O_RDWR)
    words = ["-o", ",".join(options)] if options else []
    try:
        subprocess.run(["mount", *words, device, str(path)], check=True)
    finally:
        os.close(loop)  # from now on it is detached with its last mount


def attach_to(device: str, image: Path) -> bool:
    """Attach the image to this very loop device; False while another one is there, or just goes."""
    backing = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    try:
        loop = _configured(device, os.O_RDWR, backing, flags=0)
    finally:
        os.close(backing)
    if loop is not None:
        os.close(loop)
    return loop is not None


def _attach(image: str, access: int) -> tuple[str, int]:
    backing = os.open(image, access | os.O_CLOEXEC)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            device = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            loop = _configured(device, access, backing, _AUTOCLEAR)
            if loop is not None:
                return device, loop
    finally:
        os.close(backing)
        os.close(control)


def _configured(device: str, access: int, backing: int, flags: int) -> int | None:
    """The device with this file, open; None where somebody was faster."""
    try:
        loop = os.open(device, access | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:  # his is being detached
            raise
        return None
    try:
        fcntl.ioctl(loop, _LOOP_CONFIGURE, _LOOP_CONFIG.pack(backing, 0, flags))
    except OSError as error:
        os.close(loop)
        if error.errno != errno.EBUSY:
            raise
        return None
    return loop
