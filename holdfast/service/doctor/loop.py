"""Doctor: whether a loop device can be had here, tried with a real one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.model.finding import Finding, Verdict
from holdfast.system.children.run import run
from holdfast.system.storage.loop import SECTOR_BYTES, detach_loop, just_attached

_CONTROL = Path("/dev/loop-control")
_PROBE_BYTES = 1 << 20


def loop_devices(state_directory: Path) -> Iterator[Finding]:
    """Open the control device, attach a small file with 4 KiB sectors, look, and detach it."""
    try:
        os.close(os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        yield Finding(
            "loop devices",
            Verdict.MISSING,
            f"{_CONTROL}: {error.strerror}",
            "No volume can be attached.",
            "Run as root; modprobe loop; in a container, give it the loop devices.",
        )
        return
    try:
        direct_io = _try_one(state_directory)
    except (OSError, HoldfastError) as error:
        yield Finding(
            "loop devices",
            Verdict.MISSING,
            f"a loop device with {SECTOR_BYTES}-byte sectors cannot be attached: {error}",
            "No volume can be attached.",
            "In a container, give it the loop devices (--device /dev/loop0 ..., or --privileged).",
        )
        return
    how = "direct I/O" if direct_io else "no direct I/O on the state directory's file system"
    yield Finding(
        "loop devices", Verdict.OK, f"attached one with {SECTOR_BYTES}-byte sectors, {how}"
    )


def _try_one(state_directory: Path) -> bool:
    """Whether a loop device over a file in that directory does direct I/O. Leaves nothing."""
    folder = state_directory if state_directory.is_dir() else None
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
        file.truncate(_PROBE_BYTES)
        options = ["--direct-io=on", f"--sector-size={SECTOR_BYTES}"]
        command = ["losetup", "--find", "--show", *options, file.name]
        made = just_attached(run(command, deadline_seconds=10).stdout.strip())
        detach_loop(made)
        return made.direct_io
