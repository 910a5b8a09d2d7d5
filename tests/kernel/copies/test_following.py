"""Copies that the daemon brings on: to the present, whatever becomes of another one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Settings
from holdfast.copies.records import CopyRecords, FollowingRecords
from holdfast.errors import InvalidOption, NoHistory, NoSuchCopy, TooSmall
from holdfast.gate.log.history.needed import NeededPositions
from holdfast.model.copy import VolumeCopy
from holdfast.model.following import FollowState
from holdfast.service import FollowRequest, Holdfast, ScheduledPointsRequest, perform
from tests.faults.fuse_tree import FuseTree
from tests.faults.small_disk import SmallDisk
from tests.kernel.daemon.pager import daemon
from tests.kernel.gate.kept_volume import made, write
from tests.kernel.volume.stack import SIZE
from tests.waiting import wait_until

LAG = 10.0
Run = Callable[..., Any]


@pytest.fixture(name="holdfast")
def _holdfast(holdfast_home: Path) -> Iterator[Holdfast]:
    with Holdfast(Settings(holdfast_home)) as found:
        yield found


def aged(holdfast: Holdfast, url: str) -> VolumeCopy:
    """A copy that was brought on so long ago that it is due."""
    records = CopyRecords(holdfast.settings)
    copy = holdfast.histories.copies.find("shop", url)
    records.save(replace(copy, made=copy.made - 2 * LAG))
    return copy


def comes_to_be_the_same(holdfast: Holdfast, mount: Path, url: str, folder: Path) -> bool:
    """Whether a copy has the bytes of the volume, once it is brought to where nobody writes."""
    subprocess.run(["fsfreeze", "--freeze", mount], check=True)
    try:
        gate = holdfast.show_volume("shop").gate
        assert gate is not None
        position = int(str(gate.journal["position"]))
        wait_until(lambda: holdfast.histories.copies.find("shop", url).position == position)
        leg = (folder / "shop.img").read_bytes()[:SIZE]
        return Path(url.removeprefix("file:")).read_bytes() == leg
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", mount], check=True)


def states(holdfast: Holdfast) -> dict[str, tuple[str, FollowState]]:
    found = holdfast.histories.following.listed("shop")
    return {
        Path(each.copy.url).name: (each.state, each.following.state)
        for each in found
        if each.following is not None
    }


def test_one_that_hangs_keeps_no_other_back(
    holdfast: Holdfast, ram_directory: Path, run_holdfast: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.service.copy_states._LOOKING_SECONDS", 0.5)
    copies, following = holdfast.histories.copies, holdfast.histories.following
    records = FollowingRecords(holdfast.settings)
    elsewhere, served = ram_directory / "elsewhere", ram_directory / "served"
    elsewhere.mkdir()
    served.mkdir()
    well, ill = f"file:{ram_directory}/well.img", f"file:{elsewhere}/ill.img"
    with made(holdfast, ram_directory) as mount:
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        run_holdfast("copy", "add", "shop", well, "--lag", "10s")
        lost = copies.add("shop", ill)
        run_holdfast("copy", "set", "shop", lost.id[:8], "--lag", "10s")
        refused = run_holdfast("copy", "set", "shop", ill, "--lag", "9s", check=False)
        assert refused.returncode == 2 and "9 s" in refused.stderr
        with pytest.raises(InvalidOption):
            following.set("shop", ill, 1.0)
        with pytest.raises(NoSuchCopy):
            following.set("shop", "nobody", LAG)
        write(mount, 1)
        [shop] = run_holdfast("status", json=True)
        assert {each["state"] for each in shop["copies"]} == {"cannot"}  # no daemon
        assert all("daemon" in each["reason"] for each in shop["copies"])
        assert all(each["behind_bytes"] > 0 for each in shop["copies"])
        for url in (well, ill):
            aged(holdfast, url)
        run_holdfast("point", "schedule", "shop", "--hourly", 2, "--weekly", 1)
        with daemon():
            with FuseTree(served, elsewhere) as tree:
                tree.stop()
                assert comes_to_be_the_same(holdfast, mount, well, ram_directory)
                write(mount, 2)
                wait_until(lambda: bool((found := records.find(lost.id)) and found.failures))
                assert states(holdfast) == {
                    "well.img": ("usable", FollowState.FOLLOWING),
                    "ill.img": ("unknown", FollowState.CANNOT),
                }
                tree.resume()
                wait_until(lambda: states(holdfast)["ill.img"][0] == "gone")
            assert copies.find("shop", ill) == replace(lost, made=lost.made - 2 * LAG)
            names = [each.point.name for each in holdfast.histories.points.show("shop")]
            assert {each.partition("-")[0] for each in names} == {"hourly", "weekly"}
            following.set("shop", ill, LAG)  # it is tried at once
            assert comes_to_be_the_same(holdfast, mount, ill, ram_directory)
        following.set("shop", well, None)
        assert set(states(holdfast)) == {"ill.img"}
        assert perform(holdfast, FollowRequest("shop", copies.find("shop", well).id)) is None
        holdfast.histories.end("shop")
        with pytest.raises(NoHistory):
            perform(holdfast, FollowRequest("shop", lost.id))
        run_holdfast("point", "schedule", "shop", "--off")
        assert perform(holdfast, ScheduledPointsRequest("shop")) == ()
        assert [each.point.name for each in holdfast.histories.points.show("shop")] == names
        assert copies.remove("shop", ill) and not records.all()
        assert copies.remove("shop", well)


def test_no_room_for_it(holdfast: Holdfast, ram_directory: Path) -> None:
    """It is noted, and what was written in part is finished by the next one."""
    copies, records = holdfast.histories.copies, FollowingRecords(holdfast.settings)
    with (
        made(holdfast, ram_directory) as mount,
        SmallDisk(ram_directory / "small", 2 * SIZE) as disk,
    ):
        url = f"file:{disk.path}/copy.img"
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        copy = copies.add("shop", url)
        holdfast.histories.following.set("shop", copy.id, LAG)
        (disk.path / "others").write_bytes(bytes(disk.free_bytes() - (200 << 10)))
        (mount / "large").write_bytes(os.urandom(2 << 20))
        subprocess.run(["sync", "--file-system", mount], check=True)
        for failures in (1, 2):
            with pytest.raises(TooSmall):
                perform(holdfast, FollowRequest("shop", copy.id))
            found = records.find(copy.id)
            assert found is not None and found.failures == failures and "no room" in found.words
        assert states(holdfast) == {"copy.img": ("usable", FollowState.CANNOT)}
        half = copies.find("shop", url)
        assert half.position == copy.position and (half.good_from or 0) > copy.position
        (disk.path / "others").unlink()
        with daemon():  # what failed is tried by the next one at once
            aged(holdfast, url)
            assert comes_to_be_the_same(holdfast, mount, url, ram_directory)
            wait_until(lambda: states(holdfast) == {"copy.img": ("usable", FollowState.FOLLOWING)})
        assert NeededPositions(
            holdfast.settings.gate_state_directory("shop"), copy.volume_id
        )() == (copies.find("shop", url).position,)
        assert copies.remove("shop", url)
