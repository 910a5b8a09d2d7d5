"""A drill says whether a volume could be restored, touches nothing of it, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Settings
from holdfast.errors import HoldsData, InvalidOption, NoHistory, NoSuchContainer, Untrusted
from holdfast.model.drill import phases_of
from holdfast.model.receipt import Receipt
from holdfast.service import DeleteRequest, DrillRequest, Holdfast, NewVolume, perform
from holdfast.service.drills import schedule_drill
from holdfast.service.last_drills import last_drill, schedules
from holdfast.service.seen import shown_volumes
from tests.forked import forked
from tests.kernel.gate.kept_volume import Writer, made
from tests.kernel.restoration.unattended_bench import arm, losing
from tests.kernel.volume.stack import SIZE
from tests.waiting import wait_until

LOOK = """#!/bin/sh
set -e
cd "$HOLDFAST_DRILL_PATH"
test "$HOLDFAST_DRILL_VOLUME" = shop
test "$(cat kept)" = dear
rm kept
! touch "$0.touched" 2>/dev/null
test "$(grep -c : /proc/net/dev)" = 1
setsid sleep 12345 >/dev/null 2>&1 &
echo "all is well, says process $$"
"""
HANG = "#!/bin/sh\nsetsid sleep 54321 &\nsleep 54321\n"
FAIL = "#!/bin/sh\necho the books do not balance >&2\nexit 3\n"

PARTS = [
    "find the moment",
    "look at the history",
    "duplicate the copy",
    "apply the history",
    "bring its file system to rest",
    "read all of it",
    "assess a restoration",
    "check the file system",
    "run the check",
    "remove it",
]


def program(folder: Path, name: str, text: str, mode: int = 0o755) -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def wrong_records(holdfast: Holdfast) -> set[str]:
    """About what something cannot be read."""
    ((_, wrong),) = shown_volumes(holdfast, "shop")
    return {each.about for each in wrong if "cannot be read" in each.words}


def asleep(seconds: str) -> bool:
    """Whether anybody sleeps for so long."""
    wanted = f"sleep\0{seconds}\0".encode()
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if each.read_bytes() == wanted:
                return True
        except OSError:
            continue
    return False


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "small", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()


@pytest.fixture(name="holdfast")
def _holdfast(settings: Settings) -> Iterator[Holdfast]:
    with Holdfast(settings) as found:
        yield found


def test_of_a_volume_with_a_history(
    holdfast: Holdfast, settings: Settings, ram_directory: Path, disk_directory: Path
) -> None:
    def drill(**more: Any) -> Receipt:
        return perform(holdfast, DrillRequest("shop", **more))

    def names() -> set[str]:
        return {each.name for each in ram_directory.iterdir()}

    with made(holdfast, ram_directory) as mount:
        with pytest.raises(NoHistory):
            drill()
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        copy = holdfast.histories.copies.add("shop", f"file:{ram_directory}/copy.img")
        (mount / "kept").write_text("dear")
        (mount / "large").write_bytes(os.urandom(4 << 20))
        subprocess.run(["sync", "--file-system", mount], check=True)
        before = names()
        assert last_drill(holdfast.catalog, "shop") is None

        look = program(disk_directory, "look", LOOK)
        with Writer(mount):
            first = drill(check=look)
        assert first.outcome.startswith("done"), first.outcome
        assert [each.name for each in first.steps] == PARTS
        assert first.details["said"] == ["all is well, says process 2"]
        assert (mount / "kept").read_text() == "dear"
        assert not asleep("12345") and names() == before
        # Contents that are damaged are found, before anybody needs them.
        at = f"position:{holdfast.histories.show('shop').position}"
        device = holdfast.show_volume("shop").device
        damage = "set_inode_field kept links_count 7"
        subprocess.run(["debugfs", "-w", "-R", damage, device], check=True, capture_output=True)
        subprocess.run(["sync", "--file-system", mount], check=True)
        assert drill().outcome.startswith("failed: check the file system: e2fsck finds")
        # An earlier moment is well; what its check says counts, and how long it may take.
        failed = drill(at=at, check=program(disk_directory, "fail", FAIL))
        assert failed.outcome.startswith("failed: run the check: ")
        assert failed.outcome.endswith("ended with status 3: the books do not balance")
        measured = {each.name: each.measured_ms for each in phases_of(first)}
        expected = {each.name: each.predicted_ms for each in phases_of(failed)}
        for part in ("look at the history", "check the file system", "run the check"):
            assert expected[part] == measured[part], "what was measured is expected"
        late = drill(at=at, check=program(disk_directory, "hang", HANG), check_seconds=0.3)
        assert "did not end in 0.3 s" in late.outcome and not asleep("54321")
        last = last_drill(holdfast.catalog, "shop")
        assert last is not None and (last.receipt, last.worked) == (late.id, False)
        with small_disk(disk_directory / "small") as small:
            full = drill(image=f"file:{small}/x.img").outcome
            assert "apply the history: " in full and "are free" in full
            assert not list(small.iterdir())
        theirs = program(disk_directory, "theirs", FAIL, mode=0o777)
        for check in ("/run/x", "/x", "/etc/passwd"):
            with pytest.raises(InvalidOption):
                drill(check=check)
        with pytest.raises(Untrusted):
            drill(check=theirs)
        for place, error in ((copy.url, HoldsData), ("file:/nobody/x.img", NoSuchContainer)):
            with pytest.raises(error):
                drill(image=place)
        last = last_drill(holdfast.catalog, "shop")
        assert last is not None and "are free" in last.outcome, "what was not begun says nothing"
        assert "/nobody is not there" in drill(contents="file:/nobody").outcome
        assert not wrong_records(holdfast)
        damaged = "copies", "following", "schedules"
        for each in damaged:
            (settings.state_directory / each).mkdir(exist_ok=True)
            (settings.state_directory / each / "x.json").write_text("{")
        schedule_drill(holdfast, DrillRequest("shop"), 7 * 86400.0)
        (settings.state_directory / "drills/schedules.json").write_text("{")
        assert wrong_records(holdfast) == {*damaged, "drill schedule"}
        for each in damaged:
            (settings.state_directory / each / "x.json").unlink()
        (settings.state_directory / "drills/schedules.json").unlink()
        schedule_drill(holdfast, DrillRequest("shop", check=look), 7 * 86400.0)

        # Killed while the check is at work: that ends, and what was made is removed.
        holdfast.close()

        def dying() -> None:
            with Holdfast(settings) as mine:
                perform(mine, DrillRequest("shop", at, check=str(disk_directory / "hang")))

        child = forked(dying)
        wait_until(lambda: asleep("54321"))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        wait_until(lambda: not asleep("54321"))
        assert any("was removed" in each for each in holdfast.recover()) and names() == before

        with (ram_directory / "copy.img").open("r+b") as image:
            image.write(b"x")
        broken = drill()
        assert "no usable copy" in broken.outcome and "copy add" in broken.details["mend"]
        holdfast.histories.copies.remove("shop", copy.id)
        assert names() <= before
    mount, leg = str(ram_directory / "mnt-shop"), f"file:{ram_directory}/shop.img"
    holdfast.create_volume(NewVolume("shop", SIZE, mount, leg_urls=(leg,)))
    assert last_drill(holdfast.catalog, "shop") is None, "that was another one"
    perform(holdfast, DeleteRequest("shop"))
    assert not schedules(settings), "nor has the next one its drills"


def test_of_contents_that_its_policy_names(
    holdfast: Holdfast, settings: Settings, ram_directory: Path, disk_directory: Path
) -> None:
    with losing(settings, ram_directory) as lost:
        with pytest.raises(InvalidOption):
            perform(holdfast, DrillRequest("data"))
        arm(settings, lost.copy)
        before = {each.name for each in ram_directory.iterdir()}
        names = program(disk_directory, "names", '#!/bin/sh\nls "$HOLDFAST_DRILL_PATH"\n')
        receipt = perform(holdfast, DrillRequest("data", check=names))
        assert receipt.outcome.startswith("done"), receipt.outcome
        assert "names compared with" in receipt.verification
        assert set(receipt.details["said"]) >= {each.name for each in lost.path.iterdir()}
        lost.goes_on()
        assert {each.name for each in ram_directory.iterdir()} == before
        Path(lost.copy.removeprefix("file:")).unlink()
        receipt = perform(holdfast, DrillRequest("data"))
        assert receipt.outcome.startswith("failed: ask its policy: "), receipt.outcome
        lost.goes_on()
