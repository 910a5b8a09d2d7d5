"""A stranger's loop device whose image lies on a server that hangs: hanging_loop.

Loop devices are the host's. Where the server's file system is mounted, the host's other users need
not see. Must never import the code under test.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from tests.faults.fuse_tree import FuseTree
from tests.faults.mounting import unmount


class Where(Enum):
    """Where the server's file system is mounted."""

    HERE = "in our mount namespace"
    MOUNTED = "the same, and what is on the loop device, too"
    ELSEWHERE = "in a mount namespace of its own"
    NOWHERE = "nowhere any more"


@contextmanager
def hanging_loop(folder: Path, where: Where, *, read_only: bool = False) -> Iterator[str]:
    """The device. `folder` is empty, and gets an image, a file system and perhaps another."""
    served, path, inner = (folder / name for name in ("served", "tree", "inner"))
    for each in (served, path, inner):
        each.mkdir()
    image = served / "their.img"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    _run("mkfs.ext4", "-q", str(image))
    with FuseTree(served, path, apart=where is Where.ELSEWHERE) as tree:
        inside = ["nsenter", f"--mount=/proc/{tree.server.pid}/ns/mnt"]
        how = ["--read-only"] if read_only else []
        device = _run(*inside, "losetup", *how, "--find", "--show", str(path / "their.img"))
        try:
            if where is Where.MOUNTED:
                _run("mount", device, str(inner))
            if where is Where.NOWHERE:
                unmount(path)
            tree.stop()
            yield device
        finally:
            tree.kill()
            if where is Where.MOUNTED:
                unmount(inner)
            _run("losetup", "--detach", device)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
