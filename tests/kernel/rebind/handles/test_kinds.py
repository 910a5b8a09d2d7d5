"""Every kind of handle survives a move from ext4 to xfs and back, with one thread and with many."""

from __future__ import annotations

import pytest

from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold
from tests.soak import rounds

KINDS = (
    *("file", "append", "direct", "dup", "fork", "directory", "path", "cwd", "root"),
    *("shared_map", "private_map", "program", "flock", "posix", "ofd", "lease", "deleted"),
    *("inotify", "fifo", "removed", "removed_cwd", "removed_root", "listening", "seqpacket"),
    *("datagram", "device", "aside_root", "fanotify", "keyed_map"),
)
ROOTS = ("root", "removed_root", "aside_root")
STANDING = ("removed_cwd",)
TYPES = ("xfs", "btrfs", "ext4")[:: rounds(2, 1)]
"""From ext4 on; btrfs with a single kind only in a soak run."""

LISTENING = ("fanotify",)
"""It closes what its events have open, and with that ends POSIX locks of its neighbours."""


@pytest.mark.parametrize("threads", [False, True], ids=["one-thread", "threads"])
@pytest.mark.parametrize("kind", KINDS)
def test_is_moved(bench: Bench, hold: Hold, kind: str, threads: bool) -> None:
    program = hold(kind, *(["threads"] if threads else []))
    for filesystem in TYPES:
        lines = bench.move(filesystem)
        assert lines
        assert not [line for line in lines if line.outcome is not HandleOutcome.IDENTICAL]
        program.verify()


def test_all_at_once_to_btrfs_and_back(bench: Bench, hold: Hold) -> None:
    kinds = [kind for kind in KINDS if kind not in ROOTS + STANDING + LISTENING]
    program = hold(*kinds, "deleted_fifo", "threads")
    for filesystem in ("btrfs", "ext4", "xfs"):
        lines = bench.move(filesystem)
        assert not [line for line in lines if line.outcome is not HandleOutcome.IDENTICAL]
        program.verify()
