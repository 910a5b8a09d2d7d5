"""One process that cannot be released as it was keeps none of the others."""

from __future__ import annotations

import resource
import struct

import pytest

from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def test_the_others_go_on(bench: Bench, hold: Hold) -> None:
    """And it goes on, too: here its limit of descriptors cannot be put back."""
    programs = [hold("file", within=NOBODY) for _ in range(3)]
    rebind = bench.rebind()
    rebind.stop()
    target = rebind._processes[programs[1].pid].tracee
    target.write(target.scratch, struct.pack("<QQ", 64, 64))
    target.call("prlimit64", 0, resource.RLIMIT_NOFILE, target.scratch, 0)
    with pytest.raises(PermissionError, match="prlimit64"):
        rebind.release()
    assert rebind.pids == ()
    rebind.release()
    for program in programs:
        program.verify()
