"""A canary finds what fails and what hangs, is one at a time, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.detection.canaries import Canaries
from holdfast.detection.canary import CanaryTarget
from holdfast.model.evidence import Evidence
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.processes.process_state import children_of
from tests.faults.fuse_tree import FuseTree
from tests.kernel.mountpoints.bench import MountBench
from tests.waiting import wait_until


def target(path: Path, *images: tuple[str, str], writes: bool = True) -> CanaryTarget:
    mount = mount_at(path)
    assert mount is not None
    numbers = frozenset({mount.identifier})
    return CanaryTarget("shop", str(path), numbers, writes, "make room", images)


def sent(canaries: Canaries, where: CanaryTarget, device: str = "") -> Callable[[], bool]:
    """For `wait_until`: look, and say whether a canary that was out is back."""
    out = False

    def is_back() -> bool:
        nonlocal out
        canaries.look([where], {"shop": device}, attached=["shop"])
        before, out = out, bool(children_of(os.getpid()))
        assert len(children_of(os.getpid())) <= 1
        return before and not out

    return is_back


def words(canaries: Canaries) -> list[str]:
    return [each.words for each in canaries.evidence()]


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_a_well_volume_stays_as_it_is(ram_directory: Path, filesystem: str) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data", filesystem)
        path = bench.mount(device, "mnt")
        names = sorted(path.iterdir())
        before = path.stat()
        canaries = Canaries()
        wait_until(sent(canaries, target(path), Path(device).name))
        assert words(canaries) == []
        assert path.stat() == before and sorted(path.iterdir()) == names
        image = ("leg 1", str(path / "sparse"))
        with (path / "sparse").open("wb") as file:
            file.truncate(1 << 20)
        canaries = Canaries()
        wait_until(sent(canaries, target(path, image, writes=False)))
        assert words(canaries) == []


def test_what_the_last_daemon_saw_holds_until_it_is_asked_again(ram_directory: Path) -> None:
    before = [
        Evidence("shop", "room", "nearly full", "make room", source="canary"),
        Evidence("shop", "state", "errors", "", source="kernel log"),
        Evidence("gone", "room", "nearly full", "make room", source="canary"),
    ]
    with MountBench(ram_directory) as bench:
        canaries = Canaries(before)
        where = target(bench.mount(bench.device("data"), "mnt"))
        canaries.look([], {}, attached=["shop"])
        assert [*canaries.evidence()] == before[:1]
        wait_until(sent(canaries, where))
        assert words(canaries) == []


def test_who_exchanges_the_way_gets_no_canary(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("data"), "way/mnt")
        where = target(path)
        path.parent.rename(path.parent.with_name("moved"))
        path.mkdir(parents=True)
        canaries = Canaries()
        wait_until(sent(canaries, where))
        assert words(canaries) == []
        path.rmdir()
        path.parent.rmdir()
        path.parent.with_name("moved").rename(path.parent)


def test_what_hangs_is_told_until_it_answers(ram_directory: Path) -> None:
    served, path = ram_directory / "served", ram_directory / "tree"
    served.mkdir()
    path.mkdir()
    with FuseTree(served, path) as tree:
        where = target(path)
        canaries = Canaries(interval_seconds=0.1, hung_seconds=0.3)
        tree.stop()

        def hangs() -> bool:
            canaries.look([where], {}, attached=["shop"])
            assert len(set(children_of(os.getpid())) - {tree.server.pid}) <= 1
            return bool(words(canaries))

        wait_until(hangs)
        assert words(canaries)[0].startswith("statfs has not been answered for")
        for _ in range(20):
            assert hangs()
        tree.resume()
        wait_until(lambda: not hangs())
        canaries.look([], {}, attached=[])


def test_a_volume_at_which_a_command_works_is_left(ram_directory: Path) -> None:
    served, path = ram_directory / "served", ram_directory / "tree"
    served.mkdir()
    path.mkdir()
    with FuseTree(served, path) as tree:
        where = target(path)
        canaries = Canaries(interval_seconds=0.1)
        tree.stop()

        def others() -> list[int]:
            return [each for each in children_of(os.getpid()) if each != tree.server.pid]

        canaries.look([where], {}, attached=["shop"], busy=["shop"])
        assert not others()
        canaries.look([where], {}, attached=["shop"])
        assert others()

        def is_left() -> bool:
            canaries.look([where], {}, attached=["shop"], busy=["shop"])
            return not others()

        wait_until(is_left)
        assert words(canaries) == []
        tree.resume()
