"""A namespace, or a bind mount, that is made while a volume is away has the volume in the end, and
not the bare directory."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.model.finding import Finding
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount
from holdfast.mountpoints.remount import remount
from holdfast.system.fuse.cover import make_covers
from holdfast.system.fuse.cover_server import release
from holdfast.system.mounts import mount_api
from tests.kernel.mountpoints.bench import MountBench, run


@contextmanager
def stage(folder: Path, propagation: str) -> Iterator[tuple[MountBench, Path]]:
    """A bench below a mount that propagates to its peers, or not."""
    run("mount", "--bind", folder, folder)
    try:
        run("mount", f"--make-{propagation}", folder)
        with MountBench(folder) as bench:
            yield bench, folder
    finally:
        run("umount", "--lazy", folder)


@contextmanager
def away(path: Path) -> Iterator[list[Finding]]:
    """What is mounted there is dismounted, and comes back in the end; findings are told then."""
    covers = make_covers(time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 60 * 10**9)
    findings: list[Finding] = []
    try:
        points = dismount(capture(str(path)), covers=covers)
        yield findings
        source, filesystem = points[-1].source, points[-1].filesystem
        roots = remount(points, source, filesystem, None, findings.append, cover=covers.server)
        for root in roots.values():
            os.close(root)
    finally:
        release(covers.server)
        covers.close()


def rows(bench: MountBench, device: str) -> list[tuple[str, ...]]:
    """Namespace, path, what is shown, per-mount options."""
    return [(row[0], row[1], row[2], row[3]) for row in bench.table(device)]


@pytest.mark.parametrize("propagation", ["private", "shared"])
def test_namespaces_and_binds(ram_directory: Path, propagation: str) -> None:
    with stage(ram_directory, propagation) as (bench, folder):
        device = bench.device("1")
        path = bench.mount(device, "mnt", "-o", "ro,nosuid,noatime")
        other = folder / "other"
        other.mkdir()
        with away(path) as findings:
            for relation in ("private", "slave", "unchanged"):
                bench.namespace(relation)
            bench.mount(path, "other", "--bind")
            spot = mount_api.open_place(str(other))  # mount(8) would wait there
            mount_api.set_attributes(spot, mount_api.attributes_of("ro,noexec,noatime"))
            os.close(spot)
        options = "ro,nosuid,noatime"
        expected = [(number, str(path), "/", options) for number in ("0", "1", "2", "3")]
        expected.append(("0", str(other), "/", "ro,noexec,noatime"))
        if propagation == "shared":
            expected += [(number, str(other), "/", options) for number in ("2", "3")]
        assert sorted(rows(bench, device)) == sorted(expected)
        assert findings == []
        for process in bench.namespaces:
            assert bench.inside(process.pid, "ls", path) == "lost+found"


def test_each_shows_its_part_of_the_volume(ram_directory: Path) -> None:
    """And of a bind mount of a cover it is not known which part it should."""
    with stage(ram_directory, "private") as (bench, folder):
        device = bench.device("1")
        path = bench.mount(device, "mnt")
        (path / "sub").mkdir()
        (path / "sub/inner").touch()
        below = bench.mount(path / "sub", "below", "--bind")
        other = folder / "other"
        other.mkdir()
        with away(path) as findings:
            pid = bench.namespace()
            bench.mount(below, "other", "--bind")
        assert bench.inside(pid, "ls", path / "sub") == bench.inside(pid, "ls", below) == "inner"
        (finding,) = [each for each in findings if str(other) in each.found]
        assert finding.subject == "not mounted again"
        assert os.listdir(other) == []  # noqa: PTH208


def test_the_directory_above_is_copied_with_what_is_in_it(ram_directory: Path) -> None:
    """As a container gets its part of the host: `mount --rbind`. Also where a file is mounted."""
    with stage(ram_directory, "private") as (bench, folder):
        device = bench.device("1")
        tree = bench.mount(bench.mount("none", "tree", "-t", "tmpfs"), "tree", "--bind")
        path = bench.mount(device, "tree/mnt")
        (path / "config").write_text("text")
        (tree / "config").touch()
        run("mount", "--bind", path / "config", tree / "config")
        copy = folder / "copy"
        copy.mkdir()
        with away(path) as findings:
            bench.mount(tree, "copy", "--rbind")
        assert findings == []
        assert (copy / "config").read_text() == (copy / "mnt/config").read_text() == "text"
        run("umount", "--recursive", copy)
        run("umount", tree / "config")


def test_where_propagation_had_put_a_cover_there_was_no_volume(ram_directory: Path) -> None:
    with stage(ram_directory, "private") as (bench, _):
        device = bench.device("1")
        tree = bench.mount(bench.mount("none", "tree", "-t", "tmpfs"), "tree", "--bind")
        path = bench.mount(device, "tree/mnt")
        run("mount", "--make-shared", tree)
        peer = bench.mount(tree, "peer", "--bind", "--make-slave")
        before = bench.table(device)
        with away(path):
            assert "holdfast-cover" in run("findmnt", "--noheadings", peer / "mnt")
        assert bench.table(device) == before
        assert not (peer / "mnt").is_mount()


def test_a_user_namespace_is_told(ram_directory: Path) -> None:
    with stage(ram_directory, "private") as (bench, _):
        path = bench.mount(bench.device("1"), "mnt")
        with away(path) as findings:
            process = subprocess.Popen(
                ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
                 'echo ready; read x; stat "$0" 2>&1', str(path)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        words = [each.found for each in findings]
        assert any(f"process {process.pid}, which belongs to a user namespace" in e for e in words)
        assert "Stale file handle" in process.communicate("\n", timeout=20)[0]
