"""A mount whose server is dead or hangs, or that turned read-only, is replaced under its users."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.plan import Cause
from holdfast.model.volume import VolumeState
from holdfast.service import AssessRequest, Holdfast, NewVolume, RestoreRequest
from holdfast.system.mounts.mount_table import mount_at
from tests.faults.fuse_tree import FuseTree
from tests.kernel.restoration.bench import (
    application,
    detach_loops_in,
    make_image,
    mounted,
    read_lines,
)
from tests.waiting import wait_until

WRITE, FSYNC = 1, 74
"""asm/unistd_64.h."""


def call_of(pid: int) -> int:
    """Number of the system call that a process waits in; -1: it waits in none."""
    word = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    return -1 if word == "running" else int(word)


def hang_in(tree: FuseTree, pid: int, call: int) -> None:
    """Stop the server at a moment when this process waits for it in that call."""

    def waits_in_it() -> bool:
        tree.stop()
        wait_until(lambda: call_of(pid) in (WRITE, FSYNC))
        if call_of(pid) == call:
            return True
        tree.resume()
        return False

    wait_until(waits_in_it)


@pytest.mark.parametrize("call", [WRITE, FSYNC], ids=["write", "fsync"])
def test_a_hung_server_is_replaced_and_its_calls_are_made_again(
    settings: Settings, ram_directory: Path, call: int
) -> None:
    """A flush is not: what it was to make durable may not be in the other contents."""
    served = ram_directory / "served"
    served.mkdir()
    path = ram_directory / "mnt"
    with FuseTree(served, path) as tree, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record", simple=True) as running:
            hang_in(tree, running.pid, call)
            assert holdfast.restorations.assess(AssessRequest("data")).plan.cause is Cause.HANG
            receipt = holdfast.restorations.restore(
                RestoreRequest("data", str(served), f"file:{ram_directory}/new.img", "ext4")
            )
            assert receipt is not None
            mount = mount_at(path)
            assert mount is not None
            assert mount.filesystem == "ext4"
            running.wait_for_more()
            if call == FSYNC:
                assert receipt.errors_returned == 1
                assert running.progress()[1] == 1, "the program is told of what may be lost"
            else:
                assert receipt.requests_held == 1, "the call that waited was not made again"
                assert running.verify(in_doubt=1) > 0
        subprocess.run(["umount", str(path)], check=True)
        detach_loops_in(ram_directory)


def test_a_dead_server_is_replaced_and_its_users_go_on(
    settings: Settings, ram_directory: Path
) -> None:
    served = ram_directory / "served"
    served.mkdir()
    path = ram_directory / "mnt"
    with FuseTree(served, path) as tree, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record", simple=True) as running:
            tree.kill()
            wait_until(lambda: running.progress()[1] > 0)
            assert (
                holdfast.restorations.assess(AssessRequest("data")).plan.cause is Cause.DEAD_MOUNT
            )
            holdfast.restorations.restore(
                RestoreRequest("data", str(served), f"file:{ram_directory}/new.img", "xfs")
            )
            before = running.progress()
            running.wait_for_more()
            assert running.progress()[1] <= before[1] + 1, "errors go on"
            assert running.process.poll() is None
        written = read_lines(path / "log", in_doubt=1)
        assert written == [str(number) for number in range(len(written))]
        subprocess.run(["umount", str(path)], check=True)
        detach_loops_in(ram_directory)


def test_a_file_system_that_turned_read_only_is_mounted_anew(
    settings: Settings, ram_directory: Path
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with (
        mounted(image, ram_directory / "mnt", "errors=remount-ro") as path,
        Holdfast(settings) as holdfast,
    ):
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record", simple=True) as running:
            mount = mount_at(path)
            assert mount is not None
            trigger = Path(f"/sys/fs/ext4/{Path(mount.source).name}/trigger_fs_error")
            trigger.write_text("by a test")
            wait_until(lambda: running.progress()[1] > 0)
            assert holdfast.restorations.assess(AssessRequest("data")).plan.cause is Cause.READ_ONLY
            receipt = holdfast.restorations.restore(RestoreRequest("data"))
            assert receipt is not None
            assert receipt.strategy == "remount"
            before = running.progress()
            running.wait_for_more()
            assert running.progress()[1] <= before[1] + 1, "errors go on"


def test_a_gated_volume_whose_file_system_turned_read_only(
    settings: Settings, ram_directory: Path
) -> None:
    path = ram_directory / "mnt"
    with Holdfast(settings) as holdfast:
        wanted = NewVolume(
            name="shop",
            size_bytes=64 << 20,
            mount_path=str(path),
            leg_urls=(f"file:{ram_directory}/1.img",),
            options="errors=remount-ro",
        )
        report = holdfast.create_volume(wanted)
        try:
            with application(path, ram_directory / "record", simple=True) as running:
                trigger = Path(f"/sys/fs/ext4/{Path(report.device).name}/trigger_fs_error")
                trigger.write_text("by a test")
                wait_until(lambda: running.progress()[1] > 0)
                receipt = holdfast.restorations.restore(RestoreRequest("shop"))
                assert receipt is not None
                assert receipt.strategy == "remount"
                before = running.progress()
                running.wait_for_more()
                assert running.progress()[1] <= before[1] + 1, "errors go on"
                assert holdfast.show_volume("shop").state is VolumeState.HEALTHY
        finally:
            holdfast.delete_volume("shop")
