"""Claim: a mount of the volume in another mount namespace is exchanged too, or it is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.errors import Blocked
from holdfast.service import Holdfast, MigrateRequest
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.traces import Traces

PRIVATE = ("unshare", "--mount", "--propagation", "private")


def type_of_mount(pid: int, path: object) -> str:
    """The file system at a path, as the mount namespace of a process has it."""
    with open(f"/proc/{pid}/mountinfo") as file:
        lines = [line.split() for line in file if line.split()[4] == str(path)]
    return lines[-1][lines[-1].index("-") + 1]


def mounts_of(pid: int) -> list[tuple[str, str, str]]:
    """Number, source and place of every mount there."""
    text = Path(f"/proc/{pid}/mountinfo").read_text()
    rows = [line.split(" - ") for line in text.splitlines()]
    return [(left.split()[0], right.split()[1], left.split()[4]) for left, right in rows]


def test_its_processes_are_moved(adopted: Holdfast, bench: Bench, start: Hold) -> None:
    """Its mount there is another one, which the dismount here would not have taken away."""
    code = "cd $0; exec 5>log; echo ready; while read x; do echo $x >&5 && cat log | wc -l; done"
    program = start(*PRIVATE, "sh", "-c", code, bench.path)
    there = Path(f"/proc/{program.pid}/ns/mnt").readlink()
    assert there != Path("/proc/self/ns/mnt").readlink()
    assert program.ask() == "1"
    adopted.restorations.migrate(
        MigrateRequest("data", (f"file:{bench.folder}/new.img",), filesystem="xfs")
    )
    assert type_of_mount(program.pid, bench.path) == "xfs"
    assert program.ask() == "2"
    assert (bench.path / "log").read_text() == "verify\nverify\n"


def test_what_is_mounted_below_it_there_goes_along(
    adopted: Holdfast, bench: Bench, start: Hold
) -> None:
    """Where only that namespace sees it; its user does not stand still for that."""
    (bench.path / "inner").mkdir()
    code = "mount -t tmpfs inner $0/inner && cd $0/inner && echo x > file && echo ready"
    program = start(*PRIVATE, "sh", "-c", f"{code} && read x && cat file $0/inner/file", bench.path)
    before = [each for each in mounts_of(program.pid) if each[1] == "inner"]
    adopted.restorations.migrate(
        MigrateRequest("data", (f"file:{bench.folder}/new.img",), filesystem="xfs")
    )
    assert type_of_mount(program.pid, bench.path) == "xfs"
    assert [each for each in mounts_of(program.pid) if each[1] == "inner"] == before
    assert program.ask() == "x"


def test_what_is_in_the_way_there_is_reported(adopted: Holdfast, bench: Bench, start: Hold) -> None:
    """Something is mounted below it twice, where only that namespace sees it."""
    (bench.path / "inner").mkdir()
    code = "mount -t tmpfs inner $0/inner && mount -t tmpfs inner $0/inner"
    program = start(*PRIVATE, "sh", "-c", f"{code} && echo ready && read x && echo ok", bench.path)
    before = Traces.of(program.pid)
    with pytest.raises(Blocked, match="inner"):
        adopted.restorations.migrate(
            MigrateRequest("data", (f"file:{bench.folder}/new.img",), filesystem="xfs")
        )
    assert Traces.of(program.pid) == before
    assert not (bench.folder / "new.img").exists()
    assert program.ask() == "ok"
