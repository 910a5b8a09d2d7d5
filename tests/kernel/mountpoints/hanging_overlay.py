"""A program: in user and mount namespaces of its own (or, with a device of /dev/fuse, in those that
it is in), an overlay over a folder, whose lower directory is a FUSE file system that answers
everything but a look-up of `mnt` or `own`."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import threading
from pathlib import Path

NEW_NAMESPACES = 0x10000000 | 0x20000
"""CLONE_NEWUSER | CLONE_NEWNS, <linux/sched.h>."""
LOOKUP, GETATTR, STATFS, INIT, OPENDIR, RELEASEDIR, FORGET = 1, 3, 17, 26, 27, 29, 2
ATTRIBUTES = struct.pack("=6Q10I", 1, *[0] * 8, 0o40755, 2, 0, 0, 0, 4096, 0)
"""struct fuse_attr of <linux/fuse.h>: a directory."""
ANSWERS = {
    INIT: struct.pack("=IIIIHHIIHHI28x", 7, 31, 65536, 0, 12, 9, 4096, 1, 1, 0, 0),
    GETATTR: struct.pack("=QII", 1000, 0, 0) + ATTRIBUTES,
    STATFS: struct.pack("=QQQQQIIII24x", 1000, 100, 100, 100, 100, 4096, 255, 4096, 0),
    OPENDIR: struct.pack("=QII", 1, 0, 0),
    RELEASEDIR: b"",
}
libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, options: str) -> None:
    words = [each.encode() for each in (source, target, kind)]
    if libc.mount(*words, 0, options.encode()):
        raise OSError(ctypes.get_errno(), f"mount {kind}")


def serve(device: int) -> None:
    while True:
        request = os.read(device, 1 << 17)
        _, code, unique = struct.unpack_from("=IIQ", request)
        if code == FORGET or (code == LOOKUP and request[40:].rstrip(b"\0") in (b"mnt", b"own")):
            continue
        body = ANSWERS.get(code, b"")
        failure = 0 if code in ANSWERS else -2 if code == LOOKUP else -38
        os.write(device, struct.pack("=IiQ", 16 + len(body), failure, unique) + body)


def new_namespaces() -> None:
    user, group = os.getuid(), os.getgid()
    if libc.unshare(NEW_NAMESPACES):
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {user} 1"),
        ("gid_map", f"0 {group} 1"),
    ):
        Path(f"/proc/self/{name}").write_text(text)


def main(folder: str, fuse: str = "") -> None:
    if not fuse:
        new_namespaces()
    mount("none", "/tmp", "tmpfs", "")
    for name in ("lower", "other"):
        Path("/tmp", name).mkdir()
    device = os.open(fuse or "/dev/fuse", os.O_RDWR)
    mount(
        "hang", "/tmp/lower", "fuse", f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    )
    threading.Thread(target=serve, args=[device], daemon=True).start()
    child = os.fork()
    if not child:
        mount("o", folder, "overlay", "lowerdir=/tmp/lower:/tmp/other")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print("ready", flush=True)
    sys.stdin.read()


main(*sys.argv[1:])
