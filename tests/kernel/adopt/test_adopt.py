"""Adopting records everything and changes nothing; detach and attach bring it back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.model.volume import VolumeState
from holdfast.service import Holdfast
from holdfast.system.storage.loop import loop_devices_of
from tests.conftest import RunHoldfast
from tests.faults.fuse_leg import FuseLeg
from tests.kernel.mountpoints.bench import MountBench, held_open, run
from tests.waiting import wait_until


def test_adopting_records_everything_and_changes_nothing(
    run_holdfast: RunHoldfast, ram_directory: Path
) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data")
        run("e2label", device, "mine")
        place = bench.folder / "path"
        place.mkdir()
        place.chmod(0o711)
        path = bench.mount(device, "path", "-o", "noatime,commit=9")
        path.chmod(0o2770)
        (path / "sub").mkdir()
        bench.mount(path / "sub", "sub", "--bind")
        pid = bench.namespace("private")
        table = Path("/proc/self/mountinfo").read_text()

        words = run_holdfast("volume", "adopt", "data", path, "--dry-run").stdout
        assert f"ext4 from file:{bench.folder}/data.img at {path}" in words
        assert run_holdfast("volume", "list", json=True) == []
        report = run_holdfast("volume", "adopt", "data", path, json=True)

        # The kernel's table is the whole host's: others may mount meanwhile, elsewhere.
        ours = [line for line in table.splitlines() if str(bench.folder) in line]
        now = Path("/proc/self/mountinfo").read_text().splitlines()
        assert [line for line in now if str(bench.folder) in line] == ours
        uuid = run("blkid", "-p", "-o", "value", "-s", "UUID", device)
        expected = {
            "name": "data", "kind": "adopted", "state": "healthy", "mount": str(path),
            "filesystem": "ext4", "size_bytes": 32 << 20, "device": device, "label": "mine",
            "uuid": uuid, "options": "rw,noatime", "legs": [], "gate": None,
            "source": f"file:{bench.folder}/data.img", "reason": "",
        }  # fmt: skip
        assert {key: report[key] for key in expected} == expected
        places = {(each["path"], each["inside"]) for each in report["mounts"]}
        assert {(str(path), ""), (f"{bench.folder}/sub", "sub")} <= places
        foreign = [each for each in report["mounts"] if f"(process {pid})" in each["process"]]
        assert len(foreign) == 2
        with Catalog(Settings().catalog_path) as catalog:
            volume = catalog.volume("data")
        assert volume.mount.mode == 0o2770
        assert volume.adoption is not None
        assert volume.adoption.below_mode == 0o711
        assert "commit=9" in volume.adoption.super_options.split(",")
        assert not volume.adoption.needs_network


def test_deleting_only_forgets(run_holdfast: RunHoldfast, ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("data"), "path")
        (path / "file").write_text("kept")
        run_holdfast("volume", "adopt", "data", path)
        with held_open(path / "open"):
            result = run_holdfast("volume", "delete", "data", "--dry-run")
            assert "forget" in result.stdout
            run_holdfast("volume", "delete", "data", "--yes")
        assert (path / "file").read_text() == "kept"
        assert run_holdfast("volume", "list", json=True) == []


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_detach_and_attach_bring_every_mount_back(
    filesystem: str, holdfast_home: Path, ram_directory: Path
) -> None:
    with MountBench(ram_directory) as bench, Holdfast() as holdfast:
        device = bench.device("data", filesystem)
        path = bench.mount(device, "path", "-o", "noatime")
        (path / "sub").mkdir()
        copy = bench.mount(path / "sub", "sub", "--bind")
        run("mount", "-o", "remount,bind,ro", copy)
        bench.namespace("private")
        before = bench.table(device)
        holdfast.adopt_volume("data", str(path))
        for _ in range(2):
            report = holdfast.detach_volume("data")
        assert bench.table(device) == []
        assert report.state is VolumeState.DETACHED
        for _ in range(2):
            report = holdfast.attach_volume("data")
        assert bench.table(device) == before
        assert report.state is VolumeState.HEALTHY


def test_it_is_found_by_its_uuid_when_the_loop_device_is_gone(
    run_holdfast: RunHoldfast, ram_directory: Path
) -> None:
    with MountBench(ram_directory) as bench:
        image = bench.folder / "image"
        with image.open("wb") as file:
            file.truncate(32 << 20)
        run("mkfs.ext4", "-q", "-F", image)
        path = bench.mount_image(image, "path", "nosuid")
        (path / "file").write_text("kept")
        run_holdfast("volume", "adopt", "data", path)
        run("umount", path)
        shown = run_holdfast("volume", "show", "data", json=True)
        assert shown["state"] == "detached" and shown["mend"] == "holdfast volume attach data"
        run_holdfast("volume", "attach", "--wanted")
        assert (path / "file").read_text() == "kept"
        run("umount", path)
        wait_until(lambda: not loop_devices_of(image), "the loop device is gone")
        run("mkfs.ext4", "-q", "-F", image)
        refused = run_holdfast("volume", "attach", "data", check=False)
        assert refused.returncode == 7
        assert not path.is_mount()


def test_a_used_one_is_not_detached(run_holdfast: RunHoldfast, ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data")
        path = bench.mount(device, "path")
        run_holdfast("volume", "adopt", "data", path)
        before = bench.table(device)
        with held_open(path / "file"):
            result = run_holdfast("volume", "detach", "data", check=False)
            assert result.returncode == 3
        assert bench.table(device) == before


def test_files_in_memory_are_not_dismounted(run_holdfast: RunHoldfast, ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        path = bench.mount("memory", "path", "-t", "tmpfs", "-o", "size=1m")
        (path / "file").write_text("kept")
        result = run_holdfast("volume", "adopt", "data", path)
        assert "memory" in result.stderr
        assert run_holdfast("volume", "detach", "data", check=False).returncode == 3
        assert (path / "file").read_text() == "kept"


def test_a_dead_one_is_failed_and_another_one_in_its_place_too(
    run_holdfast: RunHoldfast, ram_directory: Path
) -> None:
    with FuseLeg(ram_directory / "image", ram_directory / "served", 1 << 20) as leg:
        report = run_holdfast("volume", "adopt", "data", leg.path, json=True)
        assert (report["state"], report["source"]) == ("healthy", "faulty")
        leg.kill()
        report = run_holdfast("volume", "show", "data", json=True)
        assert report["state"] == "failed" and report["reason"].startswith("dead")
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("data"), "path")
        run_holdfast("volume", "adopt", "other", path)
        run("umount", path)
        bench.mount("memory", "path", "-t", "tmpfs")
        report = run_holdfast("volume", "show", "other", json=True)
        assert report["state"] == "failed" and "instead" in report["reason"]
