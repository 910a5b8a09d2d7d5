"""A volume is as it was at a moment, under whoever has it open; nobody sees an error."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InvalidOption, Unreachable
from holdfast.service import Holdfast, RestoreRequest, perform
from tests.kernel.gate.kept_volume import made
from tests.waiting import wait_until

FOLLOWER = """
import os, sys
os.chdir(sys.argv[1])
kept = open("kept")
for line in sys.stdin:
    kept.seek(0)
    print(kept.read(), os.path.exists("deleted"), os.path.exists("later"), flush=True)
"""


@pytest.fixture(name="holdfast")
def _holdfast(settings: Settings) -> Iterator[Holdfast]:
    with Holdfast(settings) as found:
        yield found


class Follower:
    """A process that stands in the volume and has a file of it open."""

    def __init__(self, mount: Path) -> None:
        command = [sys.executable, "-c", FOLLOWER, str(mount)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def sees(self) -> str:
        """What it reads now, and which of two names are there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("look\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        """It must have met no error."""
        self._process.communicate()
        assert self._process.returncode == 0


def moment(mount: Path) -> str:
    """Now, with all that was written before."""
    subprocess.run(["sync", "--file-system", mount], check=True)
    when = time.time()
    wait_until(lambda: time.time() > when + 0.01)
    return datetime.fromtimestamp(when).isoformat(" ")


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_under_its_users(holdfast: Holdfast, ram_directory: Path, filesystem: str) -> None:
    with made(holdfast, ram_directory, filesystem=filesystem) as mount:
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        holdfast.histories.copies.add("shop", f"file:{ram_directory}/copy.img")
        (mount / "kept").write_text("as it was")
        (mount / "deleted").write_text("dear")
        at = moment(mount)
        (mount / "kept").write_text("damaged")
        (mount / "deleted").unlink()
        (mount / "later").write_text("made since")
        follower = Follower(mount)
        assert follower.sees() == "damaged False True"
        receipt = perform(holdfast, RestoreRequest("shop", at=at))
        assert receipt is not None
        assert follower.sees() == "as it was True False"
        follower.end()
        images = {each.name for each in ram_directory.glob("*.img")} - {"shop.img", "copy.img"}
        (leg,) = holdfast.show_volume("shop").legs
        assert [leg.url] == [f"file:{ram_directory}/{name}" for name in images], "and no other"
        copies = holdfast.histories.copies
        assert [each.state for each in copies.show("shop")] != ["usable"], "another gate has begun"
        holdfast.histories.keep("shop", str(ram_directory / "history-2"), None, None)
        copies.add("shop", f"file:{ram_directory}/second.img")
        assert sorted(each.state == "usable" for each in copies.show("shop")) == [False, True]
        for name in ("copy.img", "second.img"):
            copies.remove("shop", f"file:{ram_directory}/{name}")


def test_a_moment_that_cannot_be_had_changes_nothing(
    holdfast: Holdfast, ram_directory: Path
) -> None:
    with made(holdfast, ram_directory) as mount:
        before = moment(mount)
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        holdfast.histories.copies.add("shop", f"file:{ram_directory}/copy.img")
        names = sorted(ram_directory.iterdir())
        for request, refused in (
            (RestoreRequest("shop", at=before), Unreachable),
            (RestoreRequest("shop", at="in 3 days"), InvalidOption),
        ):
            with pytest.raises(refused):
                perform(holdfast, request)
        with pytest.raises(InvalidOption):
            RestoreRequest("shop", "file:/nowhere.img", at=before)
        with pytest.raises(InvalidOption):
            holdfast.restorations.restore(RestoreRequest("shop", at=moment(mount)))
        assert sorted(ram_directory.iterdir()) == names
        assert holdfast.restorations.in_progress("shop") is None
