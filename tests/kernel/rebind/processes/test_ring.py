"""A ring of io_uring with which nothing of the volume is registered is no obstacle."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from holdfast.applications.rebind.scan import blockers, judge
from holdfast.errors import Blocked
from holdfast.model.handle import HandleOutcome
from holdfast.system.mounts.mount_table import mount_at, unmount
from tests.faults.fuse_tree import FuseTree
from tests.faults.mounting import mount_image
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import SOURCES, Hold
from tests.waiting import wait_until

THREADS = {"worker": "iou-wrk", "polling": "iou-sqp"}
"""What the kernel calls the threads that it makes for a ring."""


@pytest.fixture(scope="session")
def ring(program_folder: Path) -> Path:
    """ring.c, compiled."""
    if Path("/proc/sys/kernel/io_uring_disabled").read_text().strip() != "0":
        pytest.skip("io_uring is switched off (kernel.io_uring_disabled)")
    program = program_folder / "ring"
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-pthread", "-o", program, SOURCES / "ring.c"], check=True
    )
    return program


@pytest.mark.parametrize("word", ["", "registered", "waiting", "worker", "polling"])
def test_goes_on(bench: Bench, start: Hold, ring: Path, word: str) -> None:
    """Requests that wait in it are answered afterwards, and new ones done on the new storage."""
    running = start(ring, bench.path / "file", word)
    running.verify()
    if word in THREADS:
        names = [each.read_text() for each in Path(f"/proc/{running.pid}/task").glob("*/comm")]
        assert any(name.startswith(THREADS[word]) for name in names)
    for filesystem in ("xfs", "ext4"):
        assert not blockers(judge(bench.users()))
        assert {line.outcome for line in bench.move(filesystem)} == {HandleOutcome.IDENTICAL}
        running.verify()


@pytest.mark.parametrize("word", ["waiting", "worker"])
def test_a_request_that_waits_for_a_fifo(bench: Bench, start: Hold, ring: Path, word: str) -> None:
    """It would be told that there is no writer any more."""
    running = start(ring, bench.path / "file", word, "fifo")
    running.verify()
    with pytest.raises(Blocked, match=r"FIFO .* ring of io_uring"):
        bench.move("xfs")
    assert not bench.record.exists()
    running.verify()


def test_a_fifo_beside_a_ring_without_requests(bench: Bench, start: Hold, ring: Path) -> None:
    running = start(ring, bench.path / "file", "fifo")
    assert {line.outcome for line in bench.move("xfs")} == {HandleOutcome.IDENTICAL}
    running.verify()


def test_a_request_that_ends_while_all_stand(
    bench: Bench, start: Hold, ring: Path, tmp_path: Path
) -> None:
    """It has its file open until the thread that made it is in the kernel once more."""
    served, seen = tmp_path / "served", tmp_path / "seen"
    served.mkdir()
    seen.mkdir()
    shutil.move(bench.make("ext4"), served / "image")
    unmount(str(bench.path))
    with FuseTree(served, seen) as tree:
        mount_image(seen / "image", bench.path)
        running = start(ring, bench.path / "file")
        running.verify()
        subprocess.run(["sync", "--file-system", bench.path], check=True)
        with (seen / "image").open("rb") as image:  # so that it has to be read
            os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        mounted = mount_at(bench.path)
        assert mounted is not None
        under_way = Path(f"/sys/block/{Path(mounted.source).name}/inflight")
        rebind = bench.rebind()
        tree.stop()
        try:
            assert running.ask("late") == "ok"
            assert under_way.read_text().split() != ["0", "0"]
            rebind.stop()
        finally:
            tree.resume()
        try:
            wait_until(lambda: under_way.read_text().split() == ["0", "0"])
            rebind.park()
            with bench.prepared("xfs") as other:
                pass
            with bench.exchanged(other) as bases:
                lines = rebind.rebind(bases, same_data=True)
        finally:
            rebind.release()
        assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}
        running.verify()
