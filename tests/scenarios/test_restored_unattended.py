"""Nobody types: storage is lost under a program that has its files open, and it goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path

from holdfast.config import Settings
from holdfast.model.plan import Cause
from holdfast.service import Holdfast
from tests.conftest import RunHoldfast
from tests.faults.fuse_tree import FuseTree
from tests.kernel.daemon.pager import daemon, pager_in, told
from tests.kernel.mountpoints.bench import run
from tests.kernel.restoration.bench import application, detach_loops_in, make_image, mounted
from tests.kernel.restoration.unattended_bench import COPY_SECONDS, arm, losing
from tests.waiting import wait_until


def test_a_lost_disk(run_holdfast: RunHoldfast, ram_directory: Path) -> None:
    """Errors end, and a receipt and messages say what was done; it is done once."""
    log, settings = ram_directory / "told", Settings()
    with losing(settings, ram_directory) as lost:
        run_holdfast("alert", "add", f"command:{pager_in(ram_directory, log)}")
        arm(settings, lost.copy)
        with daemon():
            lost.lose()
            wait_until(lambda: run_holdfast("receipt", "list", "data", json=True) != [])
            lost.goes_on()
            (receipt,) = run_holdfast("receipt", "list", "data", json=True)
            assert (receipt["strategy"], receipt["outcome"]) == ("rewind", "done")
            assert receipt["cause"].startswith("dead-mount: ") and "unattended" in receipt["cause"]
            assert [each["pid"] for each in receipt["processes"]] == [lost.running.pid]
            wait_until(lambda: any("restored by itself" in each["words"] for each in told(log)))
            shown = run_holdfast("policy", "show", "data", json=True)
            assert (shown["attempt"]["state"], shown["attempt"]["id"]) == ("done", receipt["id"])
            (volume,) = run_holdfast("status", "data", json=True)
            assert [each["about"] for each in volume["troubles"]] == ["policy"]
            run_holdfast("policy", "set", "data", "--on-loss", "hold")
            wait_until(lambda: any(each["kind"] == "ended" for each in told(log)))
        assert len(run_holdfast("receipt", "list", "data", json=True)) == 1
        with Holdfast(settings) as holdfast:
            assert holdfast.recover() == []


def test_a_hung_server(holdfast_home: Path, ram_directory: Path) -> None:
    """Whoever waits in it sees no error: the calls are made again on the other storage."""
    served, path = ram_directory / "served", ram_directory / "mnt"
    served.mkdir()
    settings = Settings()
    image = make_image(ram_directory / "copy.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "filling") as filling:
        (filling / "log").touch()
    then = time.time() - COPY_SECONDS
    os.utime(image, (then, then))
    with FuseTree(served, path) as tree:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        arm(
            settings,
            f"file:{image}",
            target=f"file:{ram_directory}/new.img",
            causes=(Cause.HANG,),
        )
        with application(path, ram_directory / "record", simple=True) as running, daemon():
            tree.stop()
            with Holdfast(settings) as holdfast:
                wait_until(lambda: holdfast.receipts("data") != [])
                (receipt,) = holdfast.receipts("data")
                assert (receipt.outcome, receipt.cause.split(":")[0]) == ("done", "hang")
            running.wait_for_more()
            assert running.progress()[1] == receipt.errors_returned <= 1
            running.process.kill()
        run("umount", path)
        detach_loops_in(ram_directory)
