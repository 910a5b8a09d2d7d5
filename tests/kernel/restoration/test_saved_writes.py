"""What write(2) had accepted and no storage has is there after a restoration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Settings
from holdfast.errors import InUse
from holdfast.model.handle import Handle, HandleKind
from holdfast.model.receipt import Receipt
from holdfast.restoration.performing.perform import perform
from holdfast.restoration.steps import saving
from holdfast.restoration.storage import memory_taken, saved_writes
from holdfast.restoration.storage.memory_taken import MOST_SAVED_BYTES
from holdfast.service import Holdfast, RestoreRequest
from tests.faults import shut_down
from tests.forked import in_fork
from tests.kernel.restoration.saved_writes_bench import FILES, Stage, outcomes, stage
from tests.soak import every_other

ALL_PUT_BACK = dict.fromkeys(FILES, "put back")


def onto_backup(data: Stage, **more: Any) -> RestoreRequest:
    return RestoreRequest(
        "data", str(data.backup), f"file:{data.folder}/2.img", "ext4", forced=True, **more
    )


def restored(data: Stage, request: RestoreRequest) -> Receipt:
    with Holdfast(data.settings) as holdfast:
        receipt = holdfast.restorations.restore(request)
    assert receipt is not None
    return receipt


@contextmanager
def running(program: str, path: Path) -> Iterator[None]:
    """A program of Python that works in `path`, says `ready`, and ends with its input."""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield


@pytest.mark.parametrize(
    ("filesystem", "noticed"),
    [("ext4", True), ("ext4", False), ("btrfs", True), ("btrfs", False), ("xfs", False)],
)
def test_device_without_sectors(
    settings: Settings, ram_directory: Path, filesystem: str, noticed: bool
) -> None:
    with stage(settings, ram_directory, filesystem=filesystem) as data:
        data.lose_sectors()
        if noticed:
            data.make_it_notice()
        assert outcomes(restored(data, onto_backup(data))) == ALL_PUT_BACK
        data.verify_at_work()


def test_xfs_that_noticed_keeps_it_or_says_so(settings: Settings, ram_directory: Path) -> None:
    """It shuts itself down at once, or goes on for a while."""
    with stage(settings, ram_directory, filesystem="xfs") as data:
        data.lose_sectors()
        data.make_it_notice()
        assert_kept_or_told(restored(data, onto_backup(data)))


def test_xfs_that_has_shut_itself_down_is_told(settings: Settings, ram_directory: Path) -> None:
    """Nobody says when a file was modified: what the copy has of it may be newer."""
    with stage(settings, ram_directory, filesystem="xfs") as data:
        shut_down(data.path)
        receipt = restored(data, onto_backup(data))
        assert_kept_or_told(receipt)
        assert outcomes(receipt)["table"] == "the file there may have been changed later"
        data.verify(300)


def assert_kept_or_told(receipt: Receipt) -> None:
    """Of each file."""
    assert set(outcomes(receipt)) == set(FILES)
    told = {each["subject"].rpartition("/")[2] for each in receipt.details["findings"]}
    for name, outcome in outcomes(receipt).items():
        assert outcome == "put back" or name in told


def test_xfs_that_has_shut_itself_down_and_its_own_storage(
    settings: Settings, ram_directory: Path
) -> None:
    """It says nothing of its files any more; their size is what write(2) had made it. What is open
    for writing alone cannot be read from memory then, and is told."""
    with stage(settings, ram_directory, filesystem="xfs") as data:
        shut_down(data.path)
        found = outcomes(restored(data, RestoreRequest("data")))
        assert (found["table"], found["counter"]) == ("put back", "put back")
        assert found["log"].startswith("what was in memory of it could not be read")
        data.verify_all_but_the_log(data.running.accepted)


def test_the_same_storage_again(settings: Settings, ram_directory: Path) -> None:
    with stage(settings, ram_directory, "errors=remount-ro") as data:
        data.turn_read_only()
        assert outcomes(restored(data, RestoreRequest("data"))) == ALL_PUT_BACK
        data.verify_at_work()


def test_a_rollback_of_storage_that_is_well_gets_nothing_new(
    settings: Settings, ram_directory: Path
) -> None:
    with stage(settings, ram_directory) as data:
        receipt = restored(data, onto_backup(data))
        assert "saved_writes" not in receipt.details
        data.verify(300)


def test_who_says_no_gets_the_copy_as_it_is(settings: Settings, ram_directory: Path) -> None:
    with stage(settings, ram_directory, "errors=remount-ro") as data:
        data.turn_read_only()
        receipt = restored(data, onto_backup(data, saves_writes=False))
        assert "saved_writes" not in receipt.details
        data.verify(300)


def test_what_would_be_done_is_in_the_plan(settings: Settings, ram_directory: Path) -> None:
    with stage(settings, ram_directory, "errors=remount-ro") as data:
        data.turn_read_only()
        with Holdfast(settings) as holdfast:
            for wanted in (True, False):
                request = onto_backup(data, saves_writes=wanted)
                plan = holdfast.restorations.assess(request).plan
                words = next(step.words for step in plan.steps if step.name == "flush")
                assert words.startswith("save from memory") == wanted


def test_what_is_newer_or_somebody_elses_is_left_alone(
    settings: Settings, ram_directory: Path
) -> None:
    """A file that is gone there, too."""
    with stage(settings, ram_directory, "errors=remount-ro") as data:
        newer = (data.backup / "log").stat().st_mtime + 3600
        os.utime(data.backup / "log", (newer, newer))
        (data.backup / "table").unlink()
        (data.backup / "table").symlink_to("counter")
        data.turn_read_only()
        before = (data.backup / "log").read_bytes()
        found = outcomes(restored(data, onto_backup(data)))
        assert found["log"] == "the file there was changed later"
        assert found["counter"] == "put back"
        assert found["table"] not in ("", "put back")
        assert (data.path / "log").read_bytes() == before


STRANGER = 65534

STRANGERS_PROGRAM = f"""
import os, sys
for name in ("his", "roots"):
    file = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600)
    os.fchown(file, {STRANGER}, {STRANGER})
    os.write(file, b"what he wrote")
os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})
print("ready", flush=True)
sys.stdin.read()
"""


def test_nobody_writes_by_our_hands_where_he_may_not(
    settings: Settings, ram_directory: Path
) -> None:
    """The copy has a file of root's where a stranger had one of his own."""
    with stage(settings, ram_directory, "errors=remount-ro") as data:
        for name, owner in (("his", STRANGER), ("roots", 0)):
            (data.backup / name).write_bytes(b"in the copy")
            (data.backup / name).chmod(0o600)
            os.chown(data.backup / name, owner, owner)
            os.utime(data.backup / name, (1, 1))
        with running(STRANGERS_PROGRAM, data.path):
            data.turn_read_only()
            found = outcomes(restored(data, onto_backup(data)))
        assert found["his"] == "put back"
        assert found["roots"] == "the process may not open what is at its path now"
        assert (data.path / "his").read_bytes() == b"what he wrote"
        assert (data.path / "roots").read_bytes() == b"in the copy"


@pytest.mark.parametrize("mode", [0o4777, 0o2777, 0o6770], ids=oct)
def test_set_id_bits_are_not_for_contents_of_others(
    settings: Settings, ram_directory: Path, mode: int
) -> None:
    """Where somebody writes the kernel takes them away; it does not where root writes for him."""
    with stage(settings, ram_directory, "errors=remount-ro") as data:
        for name in ("his", "roots"):
            (data.backup / name).write_bytes(b"in the copy")
            os.chown(data.backup / name, 0, STRANGER)
            os.utime(data.backup / name, (1, 1))
            (data.backup / name).chmod(mode)
        with running(STRANGERS_PROGRAM, data.path):
            data.turn_read_only()
            found = outcomes(restored(data, onto_backup(data)))
        assert found["his"] == "put back, without its set-id bits"
        assert (data.path / "his").read_bytes() == b"what he wrote"
        assert (data.path / "his").stat().st_mode & 0o7777 == mode & 0o777


def test_what_is_not_in_memory_any_more_is_told(settings: Settings, ram_directory: Path) -> None:
    with stage(settings, ram_directory, "errors=remount-ro") as data:
        (data.backup / "part").write_bytes(b"c" * 65536)
        os.utime(data.backup / "part", (1, 1))
        (data.path / "part").write_bytes(b"w" * 65536)
        text = """
import os, sys
file = os.open("part", os.O_RDWR)
os.fsync(file)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
os.pwrite(file, b"n" * 4096, 61440)
print("ready", flush=True)
sys.stdin.read()
"""
        with running(text, data.path):
            data.turn_read_only()
            receipt = restored(data, onto_backup(data))
        found = (data.path / "part").read_bytes()
        evicted = found.count(b"c")
        assert evicted > 0
        words = f"put back; {evicted} of its 65536 bytes were not in memory"
        assert outcomes(receipt)["part"] == words
        assert any(words in each["found"] for each in receipt.details["findings"])
        assert found[61440:] == b"n" * 4096
        assert evicted + found.count(b"w") == 61440


def test_an_undo_has_everything(settings: Settings, ram_directory: Path) -> None:
    with (
        stage(settings, ram_directory, "errors=remount-ro") as data,
        Holdfast(settings) as holdfast,
    ):
        data.turn_read_only()
        found = holdfast.restorations.assess(onto_backup(data))

        def checkpoint(place: str) -> None:
            if place == "after remount":
                raise InUse("a fault of this test")

        with pytest.raises(InUse):
            perform(settings, holdfast.catalog, found, checkpoint=checkpoint)
        data.verify_at_work()


PLACES = [
    f"{when} {name}"
    for name in ("flush", "lock", "dismount", "remount", "replay", "thaw")
    for when in ("before", "in", "after")
]


def verify_after_a_death(data: Stage) -> None:
    """Recovered, and mounted anew where it was undone before that."""
    with Holdfast(data.settings) as holdfast:
        (done,) = holdfast.recover()
        if (
            done.endswith("undone")
            and holdfast.restorations.assess(
                RestoreRequest("data", str(data.backup))
            ).facts.is_broken
        ):
            holdfast.restorations.restore(RestoreRequest("data"))
        assert holdfast.recover() == []
    data.verify_at_work()


@pytest.mark.parametrize("place", every_other(PLACES))
def test_killed_around_a_step(settings: Settings, ram_directory: Path, place: str) -> None:
    def checkpoint(here: str) -> None:
        if here == place:
            os._exit(9)

    def remount() -> None:
        with Holdfast(settings) as holdfast:
            found = holdfast.restorations.assess(RestoreRequest("data"))
            perform(settings, holdfast.catalog, found, checkpoint=checkpoint)

    with stage(settings, ram_directory, "errors=remount-ro") as data:
        data.turn_read_only()
        ended = in_fork(remount)
        assert ended.code == 9, ended
        verify_after_a_death(data)


def dying(name: str, call: int) -> None:
    """Let the child that does this be killed at its call of write_whole, and who waits for it."""
    runner = os.getpid()
    function = getattr(saving, name)

    def doing(*arguments: Any) -> object:
        made, write_whole = count(), saved_writes.write_whole

        def writing(*arguments: Any) -> None:
            write_whole(*arguments)
            if next(made) == call:
                os.kill(runner, signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)

        memory_taken.write_whole = saved_writes.write_whole = writing
        return function(*arguments)

    setattr(saving, name, doing)


@pytest.mark.parametrize("call", range(3))
@pytest.mark.parametrize("name", ["save", "put_back"])
def test_killed_within_a_step(
    settings: Settings, ram_directory: Path, name: str, call: int
) -> None:
    def remount() -> None:
        dying(name, call)
        with Holdfast(settings) as holdfast:
            holdfast.restorations.restore(RestoreRequest("data"))

    with stage(settings, ram_directory, "errors=remount-ro") as data:
        data.turn_read_only()
        ended = in_fork(remount)
        assert ended.code == -signal.SIGKILL, ended
        verify_after_a_death(data)


def own_handle(path: Path, descriptor: int) -> Handle:
    inode = os.fstat(descriptor).st_ino
    return Handle(
        HandleKind.FILE, os.getpid(), str(path), mode="rw", number=descriptor, inode=inode
    )


@pytest.mark.parametrize(
    ("limit_bytes", "files"), [(0, []), (9000, ["small"]), (MOST_SAVED_BYTES, ["small", "large"])]
)
def test_what_is_too_much_is_left_out_and_told(
    tmp_path: Path, limit_bytes: int, files: Sequence[str]
) -> None:
    """Of the smallest files first; nothing of it stays in the directory."""
    sizes = {"large": 100_000, "small": 5000}
    opened = {name: os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in sizes}
    place = tmp_path / "saved"
    place.mkdir()
    try:
        handles = []
        for name, descriptor in opened.items():
            os.write(descriptor, b"x" * sizes[name])
            handles.append([own_handle(tmp_path / name, descriptor)])
        found = memory_taken.save(handles, place, lambda: 60.0, limit_bytes)
    finally:
        for descriptor in opened.values():
            os.close(descriptor)
    assert [Path(each.path).name for each in found if each.name] == files
    assert [each.saved_bytes for each in found if each.name] == [sizes[name] for name in files]
    assert all(each.outcome for each in found if not each.name)
    assert len(list(place.iterdir())) == len(files)
