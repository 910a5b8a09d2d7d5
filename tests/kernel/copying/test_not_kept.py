"""What a new file system will not have is told before anything is touched, and counted after."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked
from holdfast.model.finding import Finding, Verdict
from holdfast.restoration.assessing.assess import Assessment
from holdfast.service import AssessRequest, Holdfast, MigrateRequest, RestoreRequest
from tests.conftest import RunHoldfast
from tests.kernel.restoration.bench import make_image, mounted

OTHERS = {"pause", "mount options", "old storage"}


def subjects(found: Assessment) -> set[str]:
    """Of what this file system has; what each type offers is told of every pair.

    Other tests make processes that may be users of any volume: those are told of, too.
    """
    names = {each.subject for each in found.plan.findings} - OTHERS
    return {
        name for name in names if not name.endswith("does not offer") and "(process " not in name
    }


def finding(found: Assessment, subject: str) -> Finding:
    return next(each for each in found.plan.findings if each.subject == subject)


def test_subvolumes_and_compression_of_btrfs(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", "btrfs")
    options = "compress=zstd:1"
    with mounted(image, ram_directory / "mnt", options) as path, Holdfast(settings) as holdfast:
        for command in (["create", "part"], ["snapshot", "-r", "part", "before"]):
            subprocess.run(["btrfs", "-q", "subvolume", *command], cwd=path, check=True)
        subprocess.run(["btrfs", "quota", "enable", str(path)], check=True)
        (path / "part/file").write_bytes(b"x" * 1_000_000)
        holdfast.adopt_volume("data", str(path))
        url = f"file:{ram_directory}/2.img"
        found = holdfast.restorations.assess(AssessRequest("data", urls=(url,), filesystem="ext4"))
        assert subjects(found) == {"btrfs subvolumes", "compression", "quota"}
        assert finding(found, "btrfs subvolumes").found == "2, 1 of them snapshots"
        assert {each.verdict for each in found.plan.findings} <= {Verdict.LIMITED, Verdict.OK}
        receipt = holdfast.restorations.migrate(MigrateRequest("data", (url,), filesystem="ext4"))
        assert receipt is not None
        assert receipt.details["not_kept"] == {"btrfs subvolume (a directory now)": 2}
        told = receipt.details["findings"][-1]
        assert told["subject"] == "not kept by the copy"
        assert told["found"] == "btrfs subvolume (a directory now): 2"
        assert (path / "part/file").stat().st_size == 1_000_000


def test_it_is_told_before_the_question(
    run_holdfast: RunHoldfast, ram_directory: Path, holdfast_home: Path
) -> None:
    image = make_image(ram_directory / "1.img")
    with mounted(image, ram_directory / "mnt", "usrquota") as path:
        run_holdfast("volume", "adopt", "data", path)
        terminal, theirs = pty.openpty()
        command = [Path(sys.executable).with_name("holdfast"), "migrate", "data"]
        asked = subprocess.Popen(
            [*command, f"file:{ram_directory}/2.img", "--fs", "xfs"], stdin=theirs, stderr=theirs
        )
        try:
            os.close(theirs)
            told = b""
            while b"[y/N]" not in told:
                told += os.read(terminal, 4096)
            os.write(terminal, b"n\n")
            assert asked.wait(30) == 3
        finally:
            asked.kill()
            asked.wait()
            os.close(terminal)
        assert b"note: quota: usrquota" in told
        assert not (ram_directory / "2.img").exists()
        run_holdfast("volume", "delete", "data", "--yes")


def test_a_copy_is_compressed_as_its_source(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", "btrfs")
    options = "compress=zstd:1"
    with mounted(image, ram_directory / "mnt", options) as path, Holdfast(settings) as holdfast:
        (path / "text").write_bytes(b"compressible " * 1_000_000)
        holdfast.adopt_volume("data", str(path))
        url = f"file:{ram_directory}/2.img"
        found = holdfast.restorations.assess(AssessRequest("data", urls=(url,), filesystem="btrfs"))
        assert subjects(found) == set()
        receipt = holdfast.restorations.migrate(MigrateRequest("data", (url,), filesystem="btrfs"))
        assert receipt is not None
        assert "not_kept" not in receipt.details
        extents = subprocess.run(
            ["filefrag", "-v", str(path / "text")], check=True, capture_output=True, text=True
        ).stdout
        assert "encoded" in extents


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_nothing_is_told_of_what_mkfs_sets_by_itself(
    settings: Settings, ram_directory: Path, filesystem: str
) -> None:
    image = make_image(ram_directory / "1.img", filesystem)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        for number, other in enumerate(("ext4", "xfs", "btrfs"), 2):
            url = f"file:{ram_directory}/{number}.img"
            found = holdfast.restorations.assess(
                AssessRequest("data", urls=(url,), filesystem=other)
            )
            assert subjects(found) == set()


def test_features_of_ext4(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img")
    subprocess.run(["tune2fs", "-O", "verity,encrypt", str(image)], check=True)
    options = "usrquota"
    with mounted(image, ram_directory / "mnt", options) as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        url = f"file:{ram_directory}/2.img"
        found = holdfast.restorations.assess(AssessRequest("data", urls=(url,), filesystem="ext4"))
        assert subjects(found) == {"fs-verity", "encryption", "quota"}
        assert found.plan.refuses
        with pytest.raises(Blocked, match="encryption"):
            holdfast.restorations.migrate(MigrateRequest("data", (url,), filesystem="ext4"))
        assert not (ram_directory / "2.img").exists()
        forced = holdfast.restorations.assess(
            AssessRequest("data", urls=(url,), filesystem="ext4", forced=True)
        )
        assert not forced.plan.refuses


def test_only_what_is_below_a_directory_is_told_of_it(
    settings: Settings, ram_directory: Path
) -> None:
    backups = make_image(ram_directory / "backups.img", "btrfs")
    (ram_directory / "volume").mkdir()
    image = make_image(ram_directory / "volume/1.img")
    with (
        mounted(backups, ram_directory / "backups") as place,
        mounted(image, ram_directory / "volume/mnt", "usrquota") as path,
        Holdfast(settings) as holdfast,
    ):
        (place / "data").mkdir()
        for name in ("data/below", "elsewhere", "data-not-this"):
            subprocess.run(["btrfs", "-q", "subvolume", "create", name], cwd=place, check=True)
        (place / "data/below/file").write_bytes(b"x")
        holdfast.adopt_volume("data", str(path))
        found = holdfast.restorations.assess(RestoreRequest("data", str(place / "data")))
        assert subjects(found) == {"btrfs subvolumes", "quota"}, "the volume's own quota, too"
        assert finding(found, "btrfs subvolumes").found == "1"
        assert subjects(
            holdfast.restorations.assess(RestoreRequest("data", str(place / "elsewhere")))
        ) == {"quota"}
        receipt = holdfast.restorations.restore(RestoreRequest("data", str(place / "data")))
        assert receipt is not None
        assert (path / "below/file").read_bytes() == b"x"
        assert receipt.details["not_kept"]["btrfs subvolume (a directory now)"] == 1


def test_what_is_mounted_below_a_directory_is_not_passed_over_in_silence(
    settings: Settings, ram_directory: Path
) -> None:
    image = make_image(ram_directory / "1.img")
    backup = ram_directory / "backup"
    (backup / "more").mkdir(parents=True)
    (backup / "file").write_bytes(b"x")
    subprocess.run(["mount", "-t", "tmpfs", "more", str(backup / "more")], check=True)
    try:
        with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
            with pytest.raises(Blocked, match="mounts below the source"):
                holdfast.restorations.restore(RestoreRequest("data", str(backup)))
            receipt = holdfast.restorations.restore(
                RestoreRequest("data", str(backup), forced=True)
            )
            assert receipt is not None
            assert sorted(each.name for each in path.iterdir()) == ["file", "lost+found", "more"]
    finally:
        subprocess.run(["umount", str(backup / "more")], check=True)
