"""Dead and hung mounts: found without blocking, and got rid of while somebody waits inside."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dead import abort, dismount_dead
from holdfast.mountpoints.health import Condition, health
from holdfast.system.mounts.mount_table import mount_at
from tests.faults.fuse_leg import FuseLeg
from tests.kernel.mountpoints.bench import MountBench, held_open, run


def test_a_fuse_mount_without_its_server_is_dead_and_goes(ram_directory: Path) -> None:
    with FuseLeg(ram_directory / "image", ram_directory / "served", 1 << 20) as leg:
        points = capture(str(leg.path))
        assert health(points[0]).condition is Condition.OK
        leg.kill()
        found = health(points[0])
        assert found.condition is Condition.DEAD
        assert os.strerror(errno.ENOTCONN) in found.finding.found
        assert dismount_dead(points) == []
        assert mount_at(leg.path) is None
        assert health(points[0]).condition is Condition.GONE


def test_a_hung_server_is_found_in_time_and_its_waiting_users_return(ram_directory: Path) -> None:
    with FuseLeg(ram_directory / "image", ram_directory / "served", 1 << 20) as leg:
        points = capture(str(leg.path))
        program = (
            f"import os; f = os.open({str(leg.path)!r}, os.O_RDONLY); print('open', flush=True)\n"
            "input()\n"
            "try: os.read(f, 10)\n"
            "except OSError as error: print(error.errno, flush=True)\n"
            "input()"
        )
        command = [sys.executable, "-c", program]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as user:
            assert user.stdin is not None and user.stdout is not None
            assert user.stdout.readline() == "open\n"
            leg.stop()
            user.stdin.write("\n")
            user.stdin.flush()
            began = time.monotonic()
            assert health(points[0], timeout_seconds=0.5).condition is Condition.HUNG
            assert time.monotonic() - began < 5
            assert abort(points) == []
            assert int(user.stdout.readline()) in (errno.ECONNABORTED, errno.ENOTCONN)
            findings = dismount_dead(points)
            assert len(findings) == 1 and "lazily" in findings[0].found
            assert mount_at(leg.path) is None
            user.stdin.close()
        leg.resume()


def test_a_dead_mount_in_every_namespace_goes(ram_directory: Path) -> None:
    with (
        FuseLeg(ram_directory / "image", ram_directory / "served", 1 << 20) as leg,
        MountBench(ram_directory) as bench,
    ):
        pids = [bench.namespace(each) for each in ("private", "slave")]
        leg.kill()
        dismount_dead(capture(str(leg.path)))
        for pid in pids:
            assert str(leg.path) not in Path(f"/proc/{pid}/mountinfo").read_text()


def test_ext4_that_turned_read_only_is_told_from_one_that_was_asked_to(
    ram_directory: Path,
) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data")
        path = bench.mount(device, "path", "-o", "errors=remount-ro")
        point = capture(str(path))[0]
        assert health(point).condition is Condition.OK
        number = run("stat", "-c", "%Hr:%Lr", device)
        trigger = Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error")
        if not trigger.exists():
            pytest.skip(f"the kernel has no {trigger} ({number})")
        trigger.write_text("a test asked for it")
        assert health(point).condition is Condition.READ_ONLY
        assert health(point, wanted_read_only=True).condition is Condition.OK
        run("umount", path)
        run("mount", "-o", "ro", device, path)
        assert health(capture(str(path))[0]).condition is Condition.OK


def test_a_healthy_mount_with_a_user_goes_only_lazily_and_says_so(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("data"), "path")
        with held_open(path / "file"):
            findings = dismount_dead(capture(str(path)))
            assert [finding.subject for finding in findings] == [str(path)]
            assert "lazily" in findings[0].found
            assert mount_at(path) is None
