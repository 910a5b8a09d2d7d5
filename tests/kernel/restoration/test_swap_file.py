"""A swap file on a volume is switched off before anybody stands, and on again where it moved to."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked, InUse
from holdfast.model.finding import Verdict
from holdfast.model.receipt import Receipt
from holdfast.restoration.storage.swap_files import about_swaps
from holdfast.service import Holdfast, MigrateRequest, RestoreRequest
from holdfast.system.proc_text import Swap
from holdfast.system.resources.memory import available_bytes
from holdfast.system.storage.swap import swap_areas
from tests.kernel.restoration.bench import make_image, mounted
from tests.kernel.restoration.test_by_path import make_room
from tests.resume.test_restoration_killed import die_at

SWAP_BYTES = 4 << 20


@pytest.fixture
def volume(settings: Settings, disk_directory: Path) -> Iterator[tuple[Holdfast, Path, Path]]:
    """One with a swap file that was allocated and never written, in use with a priority."""
    image = make_image(disk_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, disk_directory / "mnt") as path, Holdfast(settings) as holdfast:
        swap = make_swap(path / "swap")
        try:
            subprocess.run(["swapon", "--priority", "7", str(swap)], check=True)
            holdfast.adopt_volume("data", str(path))
            yield holdfast, path, swap
        finally:
            if priority_of(swap) is not None:
                subprocess.run(["swapoff", str(swap)], check=True)


def make_swap(path: Path) -> Path:
    subprocess.run(["fallocate", "--length", str(SWAP_BYTES), str(path)], check=True)
    path.chmod(0o600)
    subprocess.run(["mkswap", str(path)], check=True, capture_output=True)
    return path


def priority_of(path: Path) -> int | None:
    """None: it is not swapped to."""
    return next((each.priority for each in swap_areas() if each.path == str(path)), None)


def test_it_is_on_again_on_the_new_storage(volume: tuple[Holdfast, Path, Path]) -> None:
    """Its blocks were allocated and not written: a copy has holes there, which swap must not."""
    holdfast, path, swap = volume
    url = f"file:{make_room(path.parent / '2.img')}"
    receipt = holdfast.restorations.migrate(MigrateRequest("data", (url,), filesystem="xfs"))
    assert receipt is not None
    assert priority_of(swap) == 7
    assert "is swapped to, with 0 MiB in use" in found_of(receipt)[0]
    assert len(found_of(receipt)) == 1


def test_it_is_on_again_when_the_move_is_undone(volume: tuple[Holdfast, Path, Path]) -> None:
    """A descriptor on its way keeps the volume busy."""
    holdfast, path, swap = volume
    (path / "sent").touch()
    left, right = socket.socketpair()
    with left, right:
        descriptor = os.open(path / "sent", os.O_RDONLY)
        socket.send_fds(left, [b"x"], [descriptor])
        os.close(descriptor)
        with pytest.raises(InUse):
            holdfast.restorations.migrate(MigrateRequest("data", (f"file:{path.parent}/2.img",)))
    assert priority_of(swap) == 7


@pytest.mark.parametrize("place", ["before freeze", "after dismount", "after thaw"])
def test_it_is_on_again_after_a_death(
    volume: tuple[Holdfast, Path, Path], settings: Settings, place: str
) -> None:
    holdfast, path, swap = volume
    holdfast.close()
    die_at(place, settings, "data", f"file:{path.parent}/2.img", "ext4")
    assert priority_of(swap) is None
    with Holdfast(settings) as other:
        other.recover()
    assert priority_of(swap) == 7


OTHERS = {
    "another size": lambda path: os.truncate(path, SWAP_BYTES // 2),
    "root's own": lambda path: path.chmod(0o644),
    "header": lambda path: path.write_bytes(bytes(SWAP_BYTES)),
    "another file": lambda path: path.with_name("name").hardlink_to(path),
}


@pytest.mark.parametrize("why", OTHERS)
def test_other_contents_have_something_else_there(
    volume: tuple[Holdfast, Path, Path], why: str
) -> None:
    holdfast, path, swap = volume
    older = path.parent / "older"
    older.mkdir()
    OTHERS[why](make_swap(older / "swap"))
    url = f"file:{path.parent}/2.img"
    receipt = holdfast.restorations.restore(RestoreRequest("data", str(older), url, forced=True))
    assert receipt is not None
    assert why in found_of(receipt)[-1]
    assert priority_of(swap) is None


def test_it_is_not_swapped_off_where_it_would_be_needed(
    volume: tuple[Holdfast, Path, Path],
) -> None:
    """Away on purpose, it would not come back."""
    holdfast, _, swap = volume
    with pytest.raises(Blocked, match="swap"):
        holdfast.restorations.park("data", 10.0)
    assert priority_of(swap) == 7


def test_without_room_in_memory_it_is_said_with_numbers() -> None:
    more = available_bytes() * 2
    finding, *_ = about_swaps([Swap("/srv/swap", True, more, more, 7)])
    assert finding.verdict is Verdict.BLOCKS
    assert f"{more >> 20} MiB are swapped out to /srv/swap" in finding.found


def found_of(receipt: Receipt) -> list[str]:
    found = receipt.details["findings"]
    return [each["found"] for each in found if each["subject"] == "swap"]
