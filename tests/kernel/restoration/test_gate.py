"""An adopted mount becomes a gated, mirrored volume under an application that runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import NoSuchLeg
from holdfast.model.reporter import Reporter
from holdfast.model.volume import JournalMode, LegState, VolumeState
from holdfast.service import GateRequest, Holdfast
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.restoration.bench import application, make_image, mounted


@pytest.fixture
def adopted(settings: Settings, ram_directory: Path) -> Iterator[tuple[Holdfast, Path]]:
    """A plain ext4; whatever became of it is deleted."""
    image = make_image(ram_directory / "plain.img", size_bytes=64 << 20)
    with (
        mounted(image, ram_directory / "mnt", "noatime,nosuid,errors=remount-ro") as path,
        Holdfast(settings) as holdfast,
    ):
        holdfast.adopt_volume("data", str(path))
        try:
            yield holdfast, path
        finally:
            holdfast.delete_volume("data")


def legs(folder: Path, count: int = 2) -> tuple[str, ...]:
    return tuple(f"file:{folder}/leg{number}.img" for number in range(1, count + 1))


def test_it_has_two_legs_in_sync_and_its_user_goes_on(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    holdfast, path = adopted
    before = holdfast.show_volume("data")
    spare = f"file:{ram_directory}/spare.img"
    with application(path, ram_directory / "record") as running:
        receipt = holdfast.restorations.change_kind(
            GateRequest("data", legs(ram_directory), (spare,), hang_timeout_seconds=7.0)
        )
        assert receipt.outcome == "done"
        assert receipt.details["kind"] == "adopted to gated"
        assert [process["name"] for process in receipt.processes]
        running.wait_for_more()
        assert running.verify() > 0
    after = holdfast.show_volume("data")
    assert (after.kind, after.state) == ("gated", VolumeState.HEALTHY)
    assert after.id != before.id
    assert [(leg.url, leg.state) for leg in after.legs] == [
        *((url, LegState.IN_SYNC) for url in legs(ram_directory)),
        (spare, LegState.SPARE),
    ]
    volume = holdfast.catalog.volume("data")
    assert volume.adoption is None
    assert (volume.journal, volume.hang_timeout_seconds) == (JournalMode.UNFLUSHED, 7.0)
    # What it lay on is a copy, as it was.
    assert (ram_directory / "plain.img").exists()
    copy = holdfast.restorations.copies("data")[0]
    assert copy.urls == (f"file:{ram_directory}/plain.img",)
    assert holdfast.restorations.in_progress("data") is None


def test_it_is_a_volume_like_any_other_then(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    """Detached, attached, without its first leg; with the options that the mount had."""
    holdfast, path = adopted
    (path / "file").write_text("kept")
    holdfast.restorations.change_kind(GateRequest("data", legs(ram_directory)))
    holdfast.legs.remove("data", legs(ram_directory)[0])  # the other one has everything
    holdfast.detach_volume("data")
    assert mount_at(path) is None
    assert holdfast.attach_volume("data").state is VolumeState.HEALTHY
    mount = mount_at(path)
    assert mount is not None
    assert {"noatime", "nosuid"} <= set(mount.options.split(","))
    assert "errors=remount-ro" in mount.super_options
    assert (path / "file").read_text() == "kept"


def test_another_type_and_no_journal(adopted: tuple[Holdfast, Path], ram_directory: Path) -> None:
    holdfast, path = adopted
    with application(path, ram_directory / "record") as running:
        holdfast.restorations.change_kind(
            GateRequest("data", legs(ram_directory, 1), filesystem="btrfs", journal="none")
        )
        running.wait_for_more()
        assert running.verify() > 0
    after = holdfast.show_volume("data")
    assert (after.filesystem, after.journal) == ("btrfs", "none")
    assert after.state is VolumeState.HEALTHY


def test_programs_may_write_as_little_directly_as_before(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    holdfast, _ = adopted
    holdfast.restorations.change_kind(GateRequest("data", legs(ram_directory, 1)))
    device = Path(holdfast.show_volume("data").device).name
    assert Path(f"/sys/block/{device}/queue/logical_block_size").read_text() == "512\n"


def test_a_leg_that_cannot_be_filled_is_told_with_what_was_done(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    """Somebody takes it away while it is filled."""
    holdfast, _ = adopted
    first, second = legs(ram_directory)

    def say(words: str) -> None:
        if words.startswith("bring"):
            holdfast.legs.remove("data", second)

    with pytest.raises(NoSuchLeg, match=f"data itself is on {first} already"):
        holdfast.restorations.change_kind(GateRequest("data", (first, second)), Reporter(say=say))
    assert holdfast.show_volume("data").state is VolumeState.HEALTHY
    assert "done" in [receipt.outcome for receipt in holdfast.receipts("data")]


STRANGER = """
import os, sys
f = open("file", "w")
for line in sys.stdin:
    f.write(line)
    f.flush()
    os.fsync(f.fileno())
    is_same = os.stat("file").st_dev == os.fstat(f.fileno()).st_dev
    print(os.path.exists(sys.argv[1] + "/file"), is_same)
    sys.stdout.flush()
"""


def test_who_has_a_copy_of_the_mount_and_no_rights_goes_along(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    """In a mount namespace of his own, which root in ours does not see."""
    holdfast, path = adopted
    own = path / "own"
    own.mkdir()
    os.chown(own, 65534, 65534)
    ram_directory.chmod(0o711)
    ram_directory.parent.chmod(0o711)
    words = ["unshare", "--mount", "--propagation=private", "setpriv", "--reuid=65534"]
    words += ["--regid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]
    with subprocess.Popen(
        [*words, sys.executable, "-c", STRANGER, own],
        cwd=own,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as stranger:
        assert stranger.stdin is not None
        assert stranger.stdout is not None

        def answer() -> str:
            assert stranger.stdin is not None
            assert stranger.stdout is not None
            stranger.stdin.write("line\n")
            stranger.stdin.flush()
            return stranger.stdout.readline()

        assert answer() == "True True\n"
        receipt = holdfast.restorations.change_kind(GateRequest("data", legs(ram_directory)))
        assert stranger.pid in [process["pid"] for process in receipt.processes]
        assert answer() == "True True\n"
        told = [finding["subject"] for finding in receipt.details["findings"]]
        assert "further mounts" in told
        stranger.stdin.close()
        assert stranger.wait(10) == 0
    assert (own / "file").read_text() == "line\nline\n"
