"""The demo's applications on a plain folder: they work, and `verify` finds every kind of loss."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.demo.applications import appender, bank, mapper
from holdfast.demo.applications.launch import APPLICATIONS, RunningApplication
from holdfast.demo.applications.progress import Progress
from holdfast.demo.applications.runner import DemoApplication, work

OPENINGS: dict[str, Callable[[Path], DemoApplication]] = {
    "appender": appender.Appender,
    "bank": bank.Bank,
    "mapper": mapper.Mapper,
}
OPERATIONS = 300


def operate(name: str, folder: Path, operations: int = OPERATIONS) -> int:
    application = OPENINGS[name](folder)
    last = 0
    for _ in range(operations):
        last = application.operate()
    application.close()
    return last


@pytest.mark.parametrize("name", APPLICATIONS)
def test_it_works_stops_on_request_and_verifies(name: str, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    with RunningApplication(name, volume, tmp_path, pause_seconds=0) as application:
        application.wait_for(lambda now: now.acknowledged >= 50, timeout_seconds=30)
        result = application.stop()
        assert result.errors == 0
        assert result.first_errors == []
        assert result.acknowledged == result.operations >= 50
        assert result.longest_wait_ms > 0
        assert application.verify() == []


@pytest.mark.parametrize("name", APPLICATIONS)
def test_it_goes_on_after_a_kill(name: str, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    reached = 0
    for _ in range(2):
        with RunningApplication(name, volume, tmp_path, pause_seconds=0) as application:
            goal = reached + 30
            application.wait_for(lambda now, goal=goal: now.acknowledged >= goal, 30)
            application.process.kill()
            application.process.wait()
            reached = application.snapshot().acknowledged
            assert application.verify() == []


@pytest.mark.parametrize("name", APPLICATIONS)
def test_more_acknowledged_than_there_is_means_lost(name: str, tmp_path: Path) -> None:
    last = operate(name, tmp_path)
    assert APPLICATIONS[name](tmp_path, last) == []
    # The mapper cannot vouch for the one page that it overwrites in place.
    assert APPLICATIONS[name](tmp_path, last + 2) != []


@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_lost_file_is_a_fault(name: str, tmp_path: Path) -> None:
    assert APPLICATIONS[name](tmp_path, 1) != []


@pytest.mark.parametrize("offset", [0, 17, 64 * 100 + 5, 64 * OPERATIONS - 2])
def test_a_garbled_line_is_found(tmp_path: Path, offset: int) -> None:
    operate("appender", tmp_path)
    flip(tmp_path / appender.FILE_NAME, offset)
    faults = appender.verify(tmp_path, OPERATIONS)
    assert len(faults) == 1
    assert faults[0].startswith(f"line {offset // 64 + 1} ")


def test_a_lost_line_in_the_middle_is_found(tmp_path: Path) -> None:
    operate("appender", tmp_path)
    file = tmp_path / appender.FILE_NAME
    content = file.read_bytes()
    file.write_bytes(content[:640] + content[704:])
    faults = appender.verify(tmp_path, OPERATIONS)
    assert "lines 300 to 300 are lost" in faults
    assert len(faults) == 1 + 299 - 10


def test_a_torn_tail_is_no_fault_and_is_cut_at_the_next_start(tmp_path: Path) -> None:
    operate("appender", tmp_path, 20)
    with (tmp_path / appender.FILE_NAME).open("ab") as file:
        file.write(bytes(64) + appender.line(22)[:30])
    assert appender.verify(tmp_path, 20) == []
    assert operate("appender", tmp_path, 5) == 25
    assert appender.verify(tmp_path, 25) == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM transfer WHERE serial = 7",
        "DELETE FROM transfer WHERE serial = 300",
        "UPDATE account SET balance = balance + 1 WHERE id = 3",
        "UPDATE transfer SET amount = amount + 1 WHERE serial = 9",
        "DELETE FROM account WHERE id = 1",
    ],
)
def test_a_breach_of_the_bank_is_found(tmp_path: Path, statement: str) -> None:
    operate("bank", tmp_path)
    with closing(sqlite3.connect(tmp_path / bank.FILE_NAME)) as database, database:
        database.execute(statement)
    assert bank.verify(tmp_path, OPERATIONS) != []


def test_a_damaged_database_is_found(tmp_path: Path) -> None:
    operate("bank", tmp_path)
    database = tmp_path / bank.FILE_NAME
    content = bytearray(database.read_bytes())
    content[4096:8192] = os.urandom(4096)
    database.write_bytes(content)
    assert bank.verify(tmp_path, OPERATIONS) != []


def test_a_lost_write_ahead_log_is_found(tmp_path: Path) -> None:
    """The loss that a lying flush causes: the database is whole, and too old."""
    with RunningApplication("bank", tmp_path, tmp_path, pause_seconds=0) as application:
        application.wait_for(lambda now: now.acknowledged >= 20, timeout_seconds=30)
        application.process.kill()
        application.process.wait()
        (tmp_path / "bank.sqlite-wal").unlink()
        assert application.verify() != []


@pytest.mark.parametrize("offset", [0, 9, 13, 2000, mapper.PAGE_BYTES * 100 + 50])
def test_a_garbled_page_is_found(tmp_path: Path, offset: int) -> None:
    operate("mapper", tmp_path)
    flip(tmp_path / mapper.FILE_NAME, offset)
    assert len(mapper.verify(tmp_path, OPERATIONS)) == 1


def test_a_stale_page_is_found(tmp_path: Path) -> None:
    operate("mapper", tmp_path)
    stale = OPERATIONS - mapper.PAGES
    with (tmp_path / mapper.FILE_NAME).open("r+b") as file:
        file.seek(mapper.page_of(stale) * mapper.PAGE_BYTES)
        file.write(mapper.content(stale))
    assert len(mapper.verify(tmp_path, OPERATIONS)) == 1


def test_a_swapped_page_is_found(tmp_path: Path) -> None:
    operate("mapper", tmp_path)
    file = tmp_path / mapper.FILE_NAME
    content = bytearray(file.read_bytes())
    content[: mapper.PAGE_BYTES] = content[mapper.PAGE_BYTES : 2 * mapper.PAGE_BYTES]
    file.write_bytes(content)
    assert len(mapper.verify(tmp_path, OPERATIONS)) == 1


def test_the_appender_notices_a_garbled_line_when_it_reads_back(tmp_path: Path) -> None:
    application = appender.Appender(tmp_path)
    for _ in range(15):
        application.operate()
    content = (tmp_path / appender.FILE_NAME).read_bytes()
    (tmp_path / appender.FILE_NAME).write_bytes(b"x".join([b""] * (len(content) + 1)))
    with pytest.raises(OSError, match="reads as"):
        for _ in range(400):
            application.operate()
    application.close()


def test_errors_are_counted_and_the_work_goes_on(tmp_path: Path) -> None:
    """A real error: the file-size limit of a process; it ends as soon as the limit is lifted."""
    program = """
import json, resource, signal, sys
from dataclasses import asdict
from pathlib import Path
from holdfast.demo.applications.appender import Appender
from holdfast.demo.applications.progress import Progress
from holdfast.demo.applications.runner import work
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 10 + 32, resource.RLIM_INFINITY))
with Progress(Path(sys.argv[2])) as progress:
    def wanted():
        now = progress.read()
        if now.errors == 3:
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        return now.acknowledged < 20
    print(json.dumps(asdict(work("appender", lambda: Appender(folder), progress, wanted=wanted))))
"""
    volume = tmp_path / "volume"
    volume.mkdir()
    # The progress file is 4096 bytes long before the limit is set.
    Progress(tmp_path / "progress").close()
    command = [sys.executable, "-c", program, str(volume), str(tmp_path / "progress")]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(answer.stdout)
    assert result["errors"] == 3
    assert result["acknowledged"] == 20
    assert result["operations"] == 23
    assert len(result["first_errors"]) == 3
    assert appender.verify(volume, 20) == []


def test_waits_are_measured(tmp_path: Path) -> None:
    with Progress(tmp_path / "progress") as progress:
        for began, ended in ((10, 20), (100, 400), (1000, 1005)):
            progress.begin(began)
            assert progress.read().waiting_since_ns == began
            progress.finish(ended)
        now = progress.read()
        assert (now.operations, now.longest_wait_ns, now.longest_wait_at_ns) == (3, 300, 100)
        progress.begin_window()
        progress.begin(2000)
        progress.finish(2007)
        now = progress.read()
        assert (now.window_wait_ns, now.window_wait_at_ns, now.longest_wait_ns) == (7, 2000, 300)


def test_the_loop_ends_when_it_is_no_longer_wanted(tmp_path: Path) -> None:
    with Progress(tmp_path / "progress") as progress:
        result = work(
            "mapper",
            lambda: mapper.Mapper(tmp_path),
            progress,
            wanted=lambda: progress.read().operations < 5,
            pause_seconds=0,
        )
    assert (result.operations, result.acknowledged, result.errors) == (5, 5, 0)


def test_the_command_line_verifies(tmp_path: Path) -> None:
    operate("appender", tmp_path, 10)
    command = [sys.executable, "-m", "holdfast.demo.applications.appender", str(tmp_path)]
    for acknowledged, status in ((10, 0), (11, 1)):
        answer = subprocess.run(
            [*command, "--verify", f"--acknowledged={acknowledged}"],
            check=False,
            capture_output=True,
            text=True,
        )
        assert answer.returncode == status
        assert bool(json.loads(answer.stdout)["faults"]) == bool(status)


def flip(file: Path, offset: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(offset)
        byte = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([byte ^ 1]))
