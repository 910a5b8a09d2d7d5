"""A file system mounted many times, in many namespaces, goes for real and comes back exactly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.model.finding import Finding
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount
from holdfast.mountpoints.obstacles import obstacles
from holdfast.mountpoints.remount import remount
from tests.kernel.mountpoints.bench import MountBench, run

PROPAGATIONS = ("private", "slave", "shared", "unchanged")


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_every_mount_in_every_namespace_comes_back_from_other_storage(
    filesystem: str, ram_directory: Path
) -> None:
    with MountBench(ram_directory) as bench:
        old, new = bench.device("old"), bench.device("new", filesystem)
        stage = bench.folder / "stage"
        stage.mkdir()
        bench.mount(stage, "stage", "--bind", "--make-shared")
        main = bench.mount(old, "stage/main", "-o", "noatime,nosuid")
        (main / "sub").mkdir()
        (main / "file").write_text("old")
        bench.mount(main / "sub", "stage/sub", "--bind")
        read_only = bench.mount(main, "read-only", "--bind")
        run("mount", "-o", "remount,bind,ro,noexec,nodev", read_only)
        bench.mount(main / "sub", "unbindable", "--bind", "--make-unbindable")
        bench.mount(main, "stage/main/sub", "--bind")
        _fill(bench, new)
        for propagation in PROPAGATIONS:
            bench.namespace(propagation)
        before = bench.table(old)
        assert len(before) == 7 * (1 + len(PROPAGATIONS)), "the one below propagates once more"
        points = capture(str(main))
        assert len(points) >= len(before), "other tests' namespaces may have copies as well"
        assert not obstacles(points)

        points = dismount(points)

        assert bench.table(old) == []
        run("e2fsck", "-fn", old)
        findings: list[Finding] = []
        roots = remount(points, new, filesystem, note=findings.append)
        try:
            assert [_as_before(row) for row in bench.table(new)] == [
                _as_before(row) for row in before
            ]
            assert {point.id for point in points} >= set(roots)
            assert len(roots) >= len(before)
            ours = [os.getpid(), *(process.pid for process in bench.namespaces)]
            words = [finding.found for finding in findings]
            words = [each for each in words if not _is_of_others(each, ours)]
            assert not words
            for root in roots.values():
                assert os.listdir(f"/proc/self/fd/{root}")  # noqa: PTH208
            first = next(point for point in points if point.path == str(read_only))
            content = Path(f"/proc/self/fd/{roots[first.id]}/file").read_text()
            assert content == "new"
        finally:
            for root in roots.values():
                os.close(root)


def _is_of_others(words: str, ours: list[int]) -> bool:
    """Another test made a namespace just now, and the mount propagated to there."""
    return "it appeared at" in words and not any(f"process {pid} " in words for pid in ours)


def _fill(bench: MountBench, device: str) -> None:
    place = bench.mount(device, "filling")
    (place / "sub").mkdir()
    (place / "sub/file").touch()
    (place / "file").write_text("new")
    run("umount", place)


def _as_before(row: tuple[str, ...]) -> tuple[str, ...]:
    """Without the type, which is another one on purpose."""
    return (*row[:4], *row[5:])


def test_a_subvolume_of_btrfs_is_mounted_as_it_was(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data", "btrfs")
        top = bench.mount(device, "top")
        run("btrfs", "subvolume", "create", top / "inner")
        (top / "inner/file").write_text("kept")
        run("umount", top)
        path = bench.mount(device, "path", "-o", "subvol=inner,noatime")
        before = bench.table(device)
        points = capture(str(path))
        dismount(points)
        for root in remount(points, device, "btrfs").values():
            os.close(root)
        assert bench.table(device) == before
        assert (path / "file").read_text() == "kept"


def test_a_mount_that_has_only_a_subdirectory_comes_back(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data")
        top = bench.mount(device, "top")
        (top / "deep/er").mkdir(parents=True)
        (top / "deep/file").write_text("a file can be a mount point")
        below = bench.mount(top / "deep/er", "below", "--bind")
        file = bench.folder / "file"
        file.touch()
        run("mount", "--bind", top / "deep/file", file)
        run("umount", top)
        before = bench.table(device)
        points = capture(str(below))
        dismount(points)
        assert file.read_text() == ""
        for root in remount(points, device, "ext4").values():
            os.close(root)
        assert bench.table(device) == before
        assert file.read_text() == "a file can be a mount point"
        run("umount", file)


def test_calling_again_takes_what_is_there(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data")
        path = bench.mount(device, "path")
        bench.mount(path, "again", "--bind")
        bench.namespace("private")
        before = bench.table(device)
        points = capture(str(path))
        dismount(points)
        dismount(points)
        for root in remount(points, device, "ext4").values():
            os.close(root)
        run("umount", bench.folder / "again")
        for root in remount(points, device, "ext4").values():
            os.close(root)
        assert bench.table(device) == before


def test_a_namespace_that_ended_meanwhile_is_left_out(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data")
        path = bench.mount(device, "path")
        pid = bench.namespace("private")
        points = capture(str(path))
        assert any(point.witness_pid == pid for point in points)
        dismount(points)
        bench.namespaces.pop().communicate()
        roots = remount(points, device, "ext4")
        for root in roots.values():
            os.close(root)
        assert {point.id for point in points if point.witness_pid == os.getpid()} <= set(roots)
        assert not {point.id for point in points if point.witness_pid == pid} & set(roots)
        assert len(bench.table(device)) == 1


def test_options_are_carried_and_what_is_dropped_is_told(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        old, new = bench.device("old"), bench.device("new", "xfs")
        path = bench.mount(old, "path", "-o", "discard,commit=7,errors=remount-ro,sync")
        points = capture(str(path))
        dismount(points)
        findings: list[Finding] = []
        for root in remount(points, new, "xfs", note=findings.append).values():
            os.close(root)
        shown = capture(str(path))[0].super_options.split(",")
        assert {"discard", "sync"} <= set(shown)
        assert len(findings) == 1
        assert "commit=7" in findings[0].found and "errors=remount-ro" in findings[0].found
