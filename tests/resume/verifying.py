"""Load that finds out by itself whether every byte came back: fio; and file-system checks."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from holdfast.system.fuse.wire import MAXIMUM_TRANSFER_BYTES

PASS_TIMEOUT_SECONDS = 120.0
MIXED = f"""
[global]
directory={{directory}}
rw=randwrite
verify=crc32c
verify_fatal=1
verify_state_save=0
size=64m
group_reporting

[direct]
direct=1
ioengine=libaio
iodepth=4
bsrange=4k-64k

[synced]
ioengine=psync
bs=4k
fdatasync=4
size=3m

[large]
direct=1
ioengine=psync
bs={MAXIMUM_TRANSFER_BYTES}
size=64m
"""

PARALLEL = """
[global]
directory={directory}
rw=randwrite
verify=crc32c
verify_fatal=1
verify_state_save=0

[direct]
direct=1
ioengine=libaio
iodepth=32
bs=4k
size=4m
"""
"""As many requests at once as the gate is ever given threads for."""

CHECKS = {
    "ext4": ("e2fsck", "-f", "-n"),
    "xfs": ("xfs_repair", "-n"),
    "btrfs": ("btrfs", "check", "--readonly", "--force"),
}
"""Read-only checks of a file system in an image: status 0 only when nothing is wrong."""


def verified_writes(directory: Path, until: Callable[[], bool], jobs: str = MIXED) -> list[float]:
    """Write random blocks with checksums and read them back, pass after pass; seconds of each.

    Fails the test when fio meets an error or a wrong byte.
    """
    passes: list[float] = []
    told = directory.parent / "fio.jobs"
    told.write_text(jobs.format(directory=directory))
    while True:
        done = until()
        begun = time.monotonic()
        result = subprocess.run(
            ["fio", f"--randseed={len(passes) + 1}", str(told)],
            check=False,
            capture_output=True,
            text=True,
            timeout=PASS_TIMEOUT_SECONDS,
            cwd=directory.parent,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        passes.append(time.monotonic() - begun)
        if done:
            return passes


def check_filesystem(image: Path, filesystem: str) -> None:
    """The file system in an image that is not in use has no fault."""
    # Given a file, e2fsck asks every loop device of the host whether it has that file open, and
    # waits where a volume of somebody else is held.
    losetup = ["losetup", "--read-only", "--find", "--show", str(image)]
    found = subprocess.run(losetup, check=True, capture_output=True, text=True)
    device = found.stdout.strip()
    try:
        result = subprocess.run(
            [*CHECKS[filesystem], device], check=False, capture_output=True, text=True
        )
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
    assert result.returncode == 0, result.stdout + result.stderr
