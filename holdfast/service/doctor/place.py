"""Doctor: the file system that holds Holdfast's own state (catalog, journals)."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import Untrusted
from holdfast.model.finding import Finding, Verdict
from holdfast.model.size import format_size
from holdfast.system.files.trusted import judge_directory
from holdfast.system.mounts.mount_table import is_under, mount_holding
from holdfast.system.storage.loop import loop_devices

_FREE_BYTES = 1 << 30
"""Below this, journals of a few busy volumes could fill it: each keeps what is not flushed yet."""

_BLOCK_BYTES = 4096
_VOLATILE = ("tmpfs", "ramfs")


def state_directory(settings: Settings) -> Iterator[Finding]:
    """The state directory: its place, its room, and whether journals can bypass the cache."""
    directory = settings.state_directory
    yield from _trust(settings)
    existing = _nearest_existing(directory)
    mount = mount_holding(os.path.realpath(existing))
    kind = mount.filesystem if mount else "an unknown file system"
    yield _on_managed_volume(settings, directory, mount.source if mount else "")
    statistics = os.statvfs(existing)
    free_bytes = statistics.f_bavail * statistics.f_frsize
    found = f"{directory} on {kind}, {format_size(free_bytes)} free"
    if kind in _VOLATILE:
        yield Finding(
            "state directory",
            Verdict.LIMITED,
            found,
            "After a reboot catalog and journals are gone; volumes are found again from their legs "
            "(attach --leg), without the writes that were not flushed.",
            "Set HOLDFAST_HOME to a directory on a disk.",
        )
    elif free_bytes < _FREE_BYTES:
        yield Finding(
            "state directory",
            Verdict.LIMITED,
            found,
            "A journal may find no room; its volume then goes on without one, with an alarm.",
            f"Free {format_size(_FREE_BYTES)}, or set HOLDFAST_HOME to another disk.",
        )
    else:
        yield Finding("state directory", Verdict.OK, found)
    yield _direct_io(existing)


def _trust(settings: Settings) -> Iterator[Finding]:
    """What others could have made is not believed: every command that needs it is refused."""
    places = (settings.home, settings.state_directory, settings.run_directory)
    for place in filter(None, places):
        with suppress(OSError):
            try:
                judge_directory(place)
            except Untrusted as error:
                yield Finding(
                    "own places",
                    Verdict.MISSING,
                    error.message,
                    "Whoever made it could say what root deletes, mounts and kills: Holdfast"
                    " believes nothing that lies there.",
                    error.mend,
                )


def _nearest_existing(path: Path) -> Path:
    while not path.is_dir():
        path = path.parent
    return path


def _on_managed_volume(settings: Settings, directory: Path, source: str) -> Finding:
    """Journals on the volume they belong to would wait for themselves."""
    gates = os.path.realpath(settings.run_directory / "gates")
    ours = [loop for loop in loop_devices() if is_under(loop.backing_file, gates)]
    if any(loop.device == source for loop in ours):
        return Finding(
            "state's independence",
            Verdict.MISSING,
            f"{directory} lies on a volume that Holdfast manages",
            "The journal of a volume would wait for the volume itself: a deadlock.",
            "Set HOLDFAST_HOME to a directory on other storage.",
        )
    return Finding("state's independence", Verdict.OK, "not on a managed volume")


def _direct_io(directory: Path) -> Finding:
    try:
        _write_directly(directory)
    except OSError as error:
        return Finding(
            "direct I/O",
            Verdict.LIMITED,
            f"{directory}: {error.strerror}",
            "Journals and images there go through the page cache: slower under memory pressure.",
            "Use a file system with O_DIRECT (ext4, xfs, btrfs), as root.",
        )
    return Finding("direct I/O", Verdict.OK, f"{directory} takes it")


def _write_directly(directory: Path) -> None:
    """Write one block with O_DIRECT into a file that is removed again. Raises OSError."""
    descriptor, name = tempfile.mkstemp(dir=directory, prefix=".doctor-")
    os.close(descriptor)
    try:
        direct = os.open(name, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        try:
            with mmap.mmap(-1, _BLOCK_BYTES) as block:
                os.write(direct, block)
        finally:
            os.close(direct)
    finally:
        Path(name).unlink()
