"""Every leg is lost for good: a copy takes their place, and whoever waits sees no error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.copies.records import CopyRecords
from holdfast.errors import NoHistory, NotLost, Unreachable
from holdfast.service import Holdfast
from tests.conftest import RunHoldfast
from tests.faults.small_disk import SmallDisk
from tests.forked import in_fork
from tests.kernel.copies.lost import Lossy, SyncedWriter, lossy
from tests.kernel.gate.kept_volume import succeed
from tests.kernel.volume.stack import SIZE
from tests.resume.dying import dying
from tests.resume.verifying import check_filesystem
from tests.waiting import wait_until


@pytest.fixture(name="holdfast")
def _holdfast(holdfast_home: Path) -> Iterator[Holdfast]:
    with Holdfast(Settings(holdfast_home)) as holdfast:
        yield holdfast


def test_every_leg_is_lost(
    holdfast: Holdfast, ram_directory: Path, run_holdfast: RunHoldfast
) -> None:
    """It goes on to the last write that was acknowledged; the history has no gap; and the leg that
    returns is brought up to date as a whole."""
    promotions = holdfast.histories.promotions
    with lossy(holdfast, ram_directory, legs=2) as lost:
        with SyncedWriter(lost.mount / "blocks") as writer:
            writer.go_on()
            with pytest.raises(NotLost):
                promotions.promote("shop")
            plan = promotions.plan("shop", though_legs_serve=True)
            assert (plan.copy.url, plan.history_bytes > 0) == (lost.copy_url, True)
            lost.legs[1].kill()
            wait_until(lambda: _states(holdfast) == ["in-sync", "failed"])
            writer.go_on()
            lost.legs[0].kill()
            lost.legs[0].image.unlink()
            lost.wait_until_held()
            refused = run_holdfast("volume", "release", "shop", check=False)
            assert "error[HELD]" in refused.stderr and "mend: " in refused.stderr, refused
            before = holdfast.histories.show("shop").position
            receipt = promotions.promote("shop")
            writer.go_on()
            lost.legs[1].start()  # it lacks what was written since, without a bit that says so
            wait_until(lambda: _states(holdfast) == ["in-sync", "in-sync"])
            writer.go_on()
        assert receipt.outcome.startswith(f"done: {lost.copy_url} is leg 1")
        assert (receipt.errors_returned, receipt.details["position"]) == (0, before)
        assert receipt.longest_wait_ms > 0 and receipt.requests_held > 0
        assert holdfast.show_volume("shop").legs[0].url == lost.copy_url
        assert not holdfast.histories.copies.show("shop")
        assert holdfast.catalog.volume("shop").leg_urls == (lost.copy_url, lost.legs[1].url)
        writer.check()
        succeed(holdfast.settings.gate_run_directory("shop"))
        writer.check()
        (stretch,) = holdfast.histories.show("shop").stretches
        assert stretch.end is None
        holdfast.detach_volume("shop")
        data = [path.read_bytes()[:SIZE] for path in (lost.copy_image, lost.legs[1].image)]
        assert data[0] == data[1]
        check_filesystem(lost.copy_image, "ext4")
        holdfast.attach_volume("shop")
        writer.check()


def test_copies_fail_too(holdfast: Holdfast, ram_directory: Path) -> None:
    """Whoever made a leg of the newest copy died, and its storage is gone; the next one is on a
    full disk. Neither keeps the volume from the third, nor anybody from clearing them away."""
    promotions, copies = holdfast.histories.promotions, holdfast.histories.copies
    gone, full = ram_directory / "gone", ram_directory / "full"
    gone.mkdir()
    with lossy(holdfast, ram_directory) as lost, SmallDisk(full, 64 << 20) as disk:
        with SyncedWriter(lost.mount / "blocks") as writer:
            copies.add("shop", f"file:{full}/copy.img")
            copies.add("shop", f"file:{gone}/copy.img")
            (lost.mount / "new").write_bytes(os.urandom(4 << 20))
            os.sync()
            writer.go_on()
            disk.fill()
            lost.lose()
            lost.wait_until_held()
            holdfast.close()
            ended = in_fork(partial(_begin_only, holdfast.settings))
            assert ended.code == 9, str(ended)
            gone.rename(ram_directory / "away")
            receipt = promotions.promote("shop")
            writer.go_on()
        assert receipt.details["url"] == lost.copy_url
        assert {each.copy.url for each in copies.show("shop")} == {
            f"file:{full}/copy.img",
            f"file:{gone}/copy.img",
        }
        copies.add("shop", f"file:{ram_directory}/another.img")
        copies.remove("shop", f"file:{gone}/copy.img", keep_image=True)
        copies.remove("shop", f"file:{full}/copy.img")
        writer.check()


def _begin_only(settings: Settings) -> None:
    """Die when the newest copy is about to become a leg."""
    with dying(1, ((CopyRecords, "save"),)), Holdfast(settings) as holdfast:
        holdfast.histories.promotions.promote("shop")


def _states(holdfast: Holdfast) -> list[str]:
    return [str(leg.state) for leg in holdfast.show_volume("shop").legs]


def test_what_is_lacking_is_found_out(holdfast: Holdfast, ram_directory: Path) -> None:
    """Writes that are in nothing that is left keep a copy from becoming a leg: nothing is changed,
    and a leg that returns ends the wait."""
    history, away = ram_directory / "history", ram_directory / "away"
    with lossy(holdfast, ram_directory) as lost, SyncedWriter(lost.mount / "blocks") as writer:
        writer.go_on()
        history.rename(away)
        wait_until(lambda: holdfast.histories.show("shop").state == "fails")
        # The gate's memory holds 32 MiB.
        for number in range(48):
            with (lost.mount / f"much-{number % 4}").open("wb") as file:
                file.write(os.urandom(1 << 20))
                file.flush()
                os.fsync(file.fileno())
        _refused(lost, writer, Unreachable, "in between is in nothing that is left")
        away.rename(history)
        wait_until(lambda: holdfast.histories.show("shop").state == "written")
        _refused(lost, writer, Unreachable, "a gap comes before it")
        holdfast.histories.end("shop")
        _refused(lost, writer, NoHistory, "no history")
        outcomes = {each.outcome for each in holdfast.receipts("shop") if each.strategy == "hold"}
        assert "continued, with its only leg: 1 of 1 legs in sync" in outcomes, outcomes


def _refused(lost: Lossy, writer: SyncedWriter, error: type[Exception], words: str) -> None:
    image = lost.copy_image.read_bytes()
    lost.legs[0].kill()
    lost.wait_until_held()
    with pytest.raises(error, match=words):
        lost.holdfast.histories.promotions.promote("shop")
    (copy,) = lost.holdfast.histories.copies.records.of("shop")
    assert copy.is_complete and lost.copy_image.read_bytes() == image
    lost.legs[0].start()
    writer.go_on()
