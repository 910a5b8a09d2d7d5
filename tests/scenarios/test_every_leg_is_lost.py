"""Nobody types: every leg and its directory are destroyed under PostgreSQL, which goes on by itself
from a copy and the history, with every transaction that was acknowledged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.receipt import Receipt
from holdfast.service import Holdfast, NewVolume
from tests.conftest import RunHoldfast
from tests.faults.own_disk import own_disk, shut_down
from tests.kernel.daemon.pager import daemon, pager_in, told
from tests.resume.verifying import check_filesystem
from tests.scenarios.postgresql import Cluster
from tests.scenarios.stories import Story
from tests.waiting import wait_until

SIZE = 320 << 20


@pytest.mark.timeout(300)
def test_no_transaction_is_lost(run_holdfast: RunHoldfast, ram_directory: Path) -> None:
    disk, copy, log = ram_directory / "disk", ram_directory / "copy.img", ram_directory / "told"
    mount = ram_directory / "mnt"
    with (
        own_disk(disk, ram_directory / "disk.img", 2 * SIZE + (256 << 20)),
        Holdfast(Settings()) as holdfast,
    ):
        (disk / "legs").mkdir()
        legs = [f"file:{disk}/legs/{number}.img" for number in (1, 2)]
        wanted = NewVolume("shop", SIZE, str(mount), leg_urls=tuple(legs), hang_timeout_seconds=2.0)
        holdfast.create_volume(wanted)
        try:
            with Cluster(mount / "cluster", ram_directory / "pg") as cluster:
                holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
                holdfast.histories.copies.add("shop", f"file:{copy}")
                run_holdfast("alert", "add", f"command:{pager_in(ram_directory, log)}")
                shown = run_holdfast(
                    *("policy", "set", "shop", "--on-loss", "restore", "--after", "1s"), json=True
                )
                assert "no daemon" in shown["why"], shown

                def story() -> None:
                    shown = run_holdfast("policy", "show", "shop", json=True)
                    assert (shown["would"], shown["mend"]) == ("restore", ""), shown
                    shutil.rmtree(disk / "legs")
                    shut_down(disk)
                    wait_until(lambda: bool(_receipts(holdfast)))

                with daemon():
                    telling = Story(story)
                    telling.start()
                    load = cluster.load(until=lambda: not telling.is_alive())
                    telling.finish()
                    wait_until(lambda: any("restored by itself" in _words(each)
                                           for each in told(log)))  # fmt: skip
                cluster.check(load)
                (receipt,) = _receipts(holdfast)
                assert receipt.cause.startswith("storage-lost: ") and "unattended" in receipt.cause
                assert receipt.details["url"] == f"file:{copy}"
                assert (receipt.errors_returned, receipt.longest_wait_ms >= 1000) == (0, True)
                shown = run_holdfast("policy", "show", "shop", json=True)
                assert (shown["attempt"]["state"], shown["would"]) == ("done", "refuse")
                assert shown["attempt"]["id"] == receipt.id
            holdfast.detach_volume("shop")
            check_filesystem(copy, "ext4")
        finally:
            holdfast.delete_volume("shop")


def _receipts(holdfast: Holdfast) -> list[Receipt]:
    return [each for each in holdfast.receipts("shop") if each.strategy == "promote"]


def _words(message: dict[str, object]) -> str:
    return str(message["words"])
