"""Marks of fanotify groups: what is unread, who shares a group, and what blocks."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

import pytest

from holdfast.applications.rebind.agent.descriptor_tables import DescriptorChannel
from holdfast.applications.rebind.handles import fanotify
from holdfast.applications.rebind.parking.record import ParkingRecord
from holdfast.applications.rebind.rebind import Rebind
from holdfast.applications.rebind.scan import judge
from holdfast.errors import Blocked
from holdfast.model.handle import HandleKind, HandleOutcome, HandleVerdict
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.failures.test_dies_at_each_call import is_finished, moved_by_one_that_dies

GROUP = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
folder, how, flags, mask = sys.argv[1], *map(int, sys.argv[2:5])
group = libc.fanotify_init(how, 0)
assert group >= 0, ctypes.get_errno()
def mark(flags, mask, path):
    result = libc.fanotify_mark(group, flags, ctypes.c_uint64(mask), -1, os.fsencode(path))
    assert result == 0, ctypes.get_errno()
os.makedirs(folder + "/marked", exist_ok=True)
mark(1 | flags, mask, folder if flags else folder + "/marked")
def events():
    os.set_blocking(group, False)
    found = 0
    try:
        while data := os.read(group, 65536):
            while data:
                length, *_, file, _ = struct.unpack_from("=IBBHQii", data)
                data, found = data[length:], found + 1
                if file >= 0:
                    os.close(file)
    except BlockingIOError:
        pass
    return found
if len(sys.argv) > 5 and os.fork() == 0:
    libc.prctl(1, 9)  # PR_SET_PDEATHSIG
    os.close(0)
    os.close(1)
    os.read(os.pipe()[0], 1)
print("ready", flush=True)
for line in sys.stdin:
    word = line.strip()
    if word == "what":
        with open(f"/proc/self/fdinfo/{group}") as text:
            words = [each.split() for each in text if "mask:" in each]
        names = ("mflags", "mask", "ignored_mask")
        print(sorted([w for w in each if w.split(":")[0] in names] for each in words), flush=True)
    elif word == "marks":
        with open(f"/proc/self/fdinfo/{group}") as text:
            print(sum("mask:" in each for each in text), flush=True)
    elif word == "touch":
        os.close(os.open(folder + "/marked/x", os.O_CREAT | os.O_WRONLY))
        print("ok", flush=True)
    else:
        print(events(), flush=True)
"""

CLOSE_WRITE, OPEN_PERMISSION, CREATE = 0x8, 0x10000, 0x100
MOUNT, FILESYSTEM = 0x10, 0x100
CONTENT, NAMED = 0x4, 0xE00
ON_CHILD = 0x08000000
MOVES = ("xfs", "btrfs", "ext4")


def group(start: Hold, bench: Bench, *words: object) -> Program:
    return start(sys.executable, "-c", GROUP, bench.path, *map(str, words))


@pytest.mark.parametrize("flags", [0, MOUNT, FILESYSTEM], ids=["inode", "mount", "filesystem"])
def test_unread_events_keep_nothing_busy_and_are_told(
    bench: Bench, start: Hold, flags: int
) -> None:
    program = group(start, bench, 0, flags, CLOSE_WRITE | ON_CHILD)
    for filesystem in MOVES:
        assert program.ask("touch") == "ok"
        (line,) = [each for each in bench.move(filesystem) if each.handle.kind == "fanotify"]
        assert line.outcome is HandleOutcome.IDENTICAL
        assert line.note == "1 events that were not read are lost"
        assert (program.ask("marks"), program.ask()) == ("1", "0")
        assert (program.ask("touch"), program.ask()) == ("ok", "1")


def test_what_only_names_files_stays_in_the_queue(bench: Bench, start: Hold) -> None:
    program = group(start, bench, NAMED, FILESYSTEM, CREATE)
    assert program.ask("touch") == "ok"
    (line,) = bench.move("xfs")
    assert line.note == "1 events not read by then name files of the old storage"
    assert program.ask() == "1"


def test_those_that_share_a_group(bench: Bench, start: Hold) -> None:
    program = group(start, bench, 0, MOUNT, CLOSE_WRITE, "fork")
    for filesystem in MOVES:
        lines = bench.move(filesystem)
        assert [line.outcome for line in lines] == [HandleOutcome.IDENTICAL] * 2
        assert (program.ask("marks"), program.ask("touch"), program.ask()) == ("1", "ok", "1")


def test_what_is_marked_elsewhere_stays(bench: Bench, start: Hold, ram_directory: Path) -> None:
    """Then the marks on the volume are found by their paths."""
    other = ram_directory / "other"
    other.mkdir()
    source = GROUP.replace("def events", f"mark(1, 8 | {ON_CHILD}, {str(other)!r})\ndef events", 1)
    program = start(sys.executable, "-c", source, bench.path, "0", "0", str(CLOSE_WRITE | ON_CHILD))
    for filesystem in MOVES:
        assert len(bench.move(filesystem)) == 1
        assert program.ask("marks") == "2"
        (other / "y").write_text("")
        assert program.ask() == "1"
        assert (program.ask("touch"), program.ask()) == ("ok", "1")


def test_among_other_contents(bench: Bench, start: Hold) -> None:
    program = group(start, bench, 0, 0, CLOSE_WRITE | ON_CHILD)
    (line,) = bench.move("xfs", lambda copy: (copy / "marked").rename(copy / "gone"))
    assert line.outcome is HandleOutcome.FILE_MISSING
    assert program.ask("marks") == "0"


def test_everything_undone(bench: Bench, start: Hold) -> None:
    program = group(start, bench, 0, MOUNT, CLOSE_WRITE)
    rebind = bench.rebind()
    rebind.stop()
    rebind.park()
    bench.move_here(rebind, same_inodes=True)
    assert (program.ask("marks"), program.ask("touch"), program.ask()) == ("1", "ok", "1")


def test_an_agent_dies_when_all_are_parked(bench: Bench, start: Hold) -> None:
    program = group(start, bench, 0, MOUNT, CLOSE_WRITE)
    bench.die_parked(60)
    rebind = Rebind.regain(bench.record)
    assert rebind is not None
    bench.move_here(rebind)
    assert (program.ask("marks"), program.ask("touch"), program.ask()) == ("1", "ok", "1")


def test_past_the_deadline(bench: Bench, start: Hold) -> None:
    """It goes on without its mark, and gets it when it is put right."""
    program = group(start, bench, 0, MOUNT, CLOSE_WRITE)
    bench.die_parked(0.5)
    assert program.ask("marks") == "0"
    rebind = Rebind.regain(bench.record)
    assert rebind is not None
    bench.move_here(rebind)
    assert (program.ask("marks"), program.ask("touch"), program.ask()) == ("1", "ok", "1")


MARKS = """
mark(1 | 0x200, 0x8, folder + "/marked")
for name, flags in (("a", 0x20), ("b", 0x20 | 0x40), ("c", 0x400 | 0x40)):
    open(folder + "/" + name, "w").close()
    mark(1 | flags, 0x2, folder + "/" + name)
mark(1 | 0x20 | 0x40 | 0x10, 0x20, folder)
gone = os.open(folder + "/removed", os.O_CREAT | os.O_RDWR)
mark(1, 0x8, folder + "/removed")
os.unlink(folder + "/removed")
def events"""
"""Evictable; ignored until a change, or for ever, or by the new flag; and of what was removed."""


def test_flags_and_masks_are_what_they_were(bench: Bench, start: Hold) -> None:
    source = GROUP.replace("def events", MARKS, 1)
    program = start(sys.executable, "-c", source, bench.path, str(NAMED), "256", str(CREATE))
    before = program.ask("what")
    assert before.count("ignored_mask") == 7
    for filesystem in MOVES:
        lines = [each for each in bench.move(filesystem) if each.handle.kind == "fanotify"]
        assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}
        assert program.ask("what") == before


ACTS = (
    (fanotify, "in_expendable_child"),
    (DescriptorChannel, "take"),
    (ParkingRecord, "write"),
)


def test_an_agent_dies_between_any_two_acts(
    bench: Bench, start: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = group(start, bench, 0, MOUNT, CLOSE_WRITE)
    monkeypatch.setattr(program, "verify", lambda: None)
    for place in count():
        is_last = is_finished(bench, program, moved_by_one_that_dies(bench, place, ACTS))
        assert (program.ask("marks"), program.ask("touch"), program.ask()) == ("1", "ok", "1")
        if is_last:
            print(f"fanotify: agents have died up to act {place}")
            assert place > 5
            return


def test_who_is_asked_for_permission_blocks(bench: Bench, start: Hold) -> None:
    program = group(start, bench, CONTENT, 0, OPEN_PERMISSION)
    (judged,) = [each for each in judge(bench.users()) if each.handle.kind is HandleKind.FANOTIFY]
    assert judged.verdict is HandleVerdict.BLOCKS
    with pytest.raises(Blocked, match="permission"):
        bench.rebind().stop()
    assert program.ask("marks") == "1"
