"""Where a process lives and what it may do makes no difference to a move of its handles."""

from __future__ import annotations

import pytest

from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold
from tests.soak import rounds

HANDLES = (
    *("file", "append", "dup", "fork", "directory", "path", "cwd", "shared_map", "program"),
    *("flock", "posix", "ofd", "lease", "deleted", "inotify", "fifo", "deleted_fifo"),
)
MORE = ("removed", "listening", "seqpacket", "datagram")
"""To be verified these take calls that the filter of holder.c does not let through."""

CONTEXTS = {
    "unprivileged": ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    "without-capabilities": ("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
    "mount-namespace": ("unshare", "--mount"),
    "pid-namespace": ("unshare", "--pid", "--fork", "--kill-child"),
    "network-namespace": ("unshare", "--net"),
    "user-namespace": ("unshare", "--user", "--map-root-user"),
    "few-descriptors": ("prlimit", "--nofile=720"),
}


@pytest.mark.parametrize("context", CONTEXTS)
def test_is_moved(bench: Bench, hold: Hold, context: str) -> None:
    program = hold(*HANDLES, *MORE, "threads", within=CONTEXTS[context])
    for filesystem in ("xfs", "btrfs", "ext4")[:: rounds(2, 1)]:
        assert {line.outcome for line in bench.move(filesystem)} == {HandleOutcome.IDENTICAL}
        program.verify()


def test_seccomp_filter(bench: Bench, hold: Hold) -> None:
    """What is done inside of it would kill it, were its filter not suspended for us alone."""
    program = hold(*HANDLES, "seccomp", "threads")
    for filesystem in ("xfs", "ext4"):
        assert {line.outcome for line in bench.move(filesystem)} == {HandleOutcome.IDENTICAL}
        program.verify()


def test_unprivileged_with_a_seccomp_filter(bench: Bench, hold: Hold) -> None:
    program = hold(*HANDLES, "seccomp", within=CONTEXTS["unprivileged"])
    assert {line.outcome for line in bench.move("xfs")} == {HandleOutcome.IDENTICAL}
    program.verify()
