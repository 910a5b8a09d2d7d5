"""Flushes that wait for a history have one deadline, from when it began to fail."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.gate.outside.client import GateClient
from holdfast.model.volume import JournalFailurePolicy
from holdfast.service import Holdfast
from tests.faults.fuse_tree import FuseTree
from tests.kernel.gate.kept_volume import made, succeed
from tests.waiting import wait_until

HOLD_SECONDS = 8.0


@pytest.fixture(name="holdfast")
def _holdfast(holdfast_home: Path) -> Iterator[Holdfast]:
    with Holdfast() as found:
        yield found


def test_nobody_waits_again_once_it_has_passed(holdfast: Holdfast, ram_directory: Path) -> None:
    """Whoever comes later is told at once, also by another worker; when it is back, all is well."""
    served, path = ram_directory / "served", ram_directory / "tree"
    served.mkdir(mode=0o700)
    path.mkdir()
    with FuseTree(served, path) as tree, made(holdfast, ram_directory, hang_timeout_seconds=2.0):
        holdfast.histories.keep("shop", str(path), None, None, JournalFailurePolicy.HOLD)
        run_directory = holdfast.settings.gate_run_directory("shop")
        GateClient(run_directory).configure(hold_timeout_seconds=HOLD_SECONDS)
        device = os.open(run_directory / "device", os.O_RDWR)
        try:
            flush(device)
            tree.stop()
            try:
                with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                    flush(device)
                succeed(run_directory)
                wait_until(lambda: holdfast.histories.show("shop").state == "fails")
                begun = time.monotonic()
                with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                    flush(device)
                assert time.monotonic() - begun < HOLD_SECONDS
            finally:
                tree.resume()
            wait_until(lambda: holdfast.histories.show("shop").state == "written")
            flush(device)
        finally:
            os.close(device)


def flush(device: int) -> None:
    """A write and what makes it durable, beside the file system, which may have been told of an
    error too: a flush alone may have nothing to wait for."""
    last = os.lseek(device, 0, os.SEEK_END) - 4096
    os.pwrite(device, os.pread(device, 4096, last), last)
    os.fsync(device)
