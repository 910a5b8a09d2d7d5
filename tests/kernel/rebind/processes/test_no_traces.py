"""A process after a move is as it was before: descriptors, maps, signals, children."""

from __future__ import annotations

import pytest

from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.traces import Traces
from tests.waiting import wait_until

KINDS = (
    *("file", "append", "dup", "directory", "path", "cwd", "shared_map", "private_map"),
    *("program", "flock", "posix", "ofd", "lease", "inotify", "threads"),
)


UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


_BEGINNING = "SigBlk:\tffffffff"
"""A thread that has not begun yet: the C library has it block all signals until then."""


@pytest.mark.parametrize("within", [(), UNPRIVILEGED], ids=["root", "unprivileged"])
def test_nothing_is_left(bench: Bench, hold: Hold, within: tuple[str, ...]) -> None:
    program = hold(*KINDS, within=within)
    wait_until(lambda: not any(_BEGINNING in text for _, text in Traces.of(program.pid).status))
    before = Traces.of(program.pid)
    for filesystem in ("xfs", "ext4"):
        bench.move(filesystem)
        assert Traces.of(program.pid) == before
        program.verify()
