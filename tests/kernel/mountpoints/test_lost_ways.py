"""An overlay in the way to a stranger's copy of a volume is seen without going there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.errors import InUse
from holdfast.model.finding import Verdict
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount
from holdfast.mountpoints.obstacles import obstacles
from holdfast.mountpoints.remount import remount
from tests.kernel.mountpoints.bench import MountBench, run
from tests.kernel.mountpoints.test_strangers import OWN, seen_by_stranger

SUBJECT = "mount that its path does not lead to"
HIDE = """
mount -t tmpfs none /tmp && mkdir /tmp/lower /tmp/other &&
mount -t overlay -o lowerdir=/tmp/lower:/tmp/other none "$1"
"""


def test_an_overlay_in_the_way_is_found_and_refused(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("old")
        with seen_by_stranger(bench, device) as (path, pid):
            inside = ["nsenter", "--user", "--mount", "--target", str(pid)]
            assert not [e for e in obstacles(capture(str(path))) if e.subject == SUBJECT]
            run(*inside, "sh", "-c", HIDE, "sh", "/mnt")
            (found,) = [e for e in obstacles(capture(str(path))) if e.subject == SUBJECT]
            assert found.verdict is Verdict.BLOCKS
            assert f"{OWN} in the mount namespace of process {pid} (user 0)" in found.found
            with pytest.raises(InUse, match=f"in the mount namespace of process {pid} "):
                dismount(capture(str(path)))
            assert path.is_mount()
            run(*inside, "umount", "/mnt")
            assert not [e for e in obstacles(capture(str(path))) if e.subject == SUBJECT]
            for root in remount(dismount(capture(str(path))), device, "ext4").values():
                os.close(root)


def test_one_mounted_beside_it_is_not(ram_directory: Path) -> None:
    with (
        MountBench(ram_directory) as bench,
        seen_by_stranger(bench, bench.device("old")) as (path, pid),
    ):
        inside = ["nsenter", "--user", "--mount", "--target", str(pid)]
        run(*inside, "mkdir", "/mnt/beside")
        run(*inside, "sh", "-c", HIDE, "sh", "/mnt/beside")
        assert not [e for e in obstacles(capture(str(path))) if e.subject == SUBJECT]


def test_one_whose_server_never_answers_is_refused_at_once(ram_directory: Path) -> None:
    """Nobody goes there: whoever did would stay until that server ends."""
    with MountBench(ram_directory) as bench:
        device = bench.device("old")
        path = bench.mount(device, "mnt")
        stranger = subprocess.Popen(
            [sys.executable, "-m", "tests.kernel.mountpoints.hanging_overlay", str(path.parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert stranger.stdout is not None
            assert stranger.stdout.readline() == b"ready\n"
            found = [e.verdict for e in obstacles(capture(str(path))) if e.subject == SUBJECT]
            assert found == [Verdict.BLOCKS]
            with pytest.raises(InUse, match=f"in the mount namespace of process {stranger.pid} "):
                dismount(capture(str(path)))
            assert path.is_mount()
        finally:
            stranger.kill()
            stranger.communicate()
        for root in remount(dismount(capture(str(path))), device, "ext4").values():
            os.close(root)
