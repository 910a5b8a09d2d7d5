"""Where log records go, and what a stranger's words can do there."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.errors import Untrusted
from holdfast.system.messages import journald
from holdfast.system.messages.logs import LONGEST_FILE_BYTES, _put_aside, into_file

SAYING = """
import logging, sys
from pathlib import Path
from holdfast.system.messages import logs
from holdfast.system.messages.unwaited import wait_until_written
logs.set_up("command", write=logs.into_file(Path(sys.argv[1])))
log = logging.getLogger("holdfast.anything")
log.debug("too little")
log.info("a name %s", "x\\nINFO forged\\x1b[2J", extra={"volume": "shop"})
try:
    1 / 0
except ZeroDivisionError:
    log.exception("a defect")
wait_until_written(30)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path / "state"


def said(folder: Path, **environment: str) -> str:
    if journald.is_there():
        pytest.skip("this host has a journal, which gets the records")
    log = folder / "holdfast.log"
    subprocess.run(
        [sys.executable, "-c", SAYING, log],
        env={**os.environ, **environment},
        check=True,
        timeout=60,
    )
    return log.read_text() if log.exists() else ""


@pytest.mark.skipif(os.geteuid() != 0, reason="places of ours are root's")
def test_records_become_lines_that_nobody_can_forge(folder: Path) -> None:
    lines = said(folder).splitlines()
    assert "INFO command" in lines[0]
    assert "shop: a name x" in lines[0]
    assert lines[1] == "    INFO forged\\x1b[2J"
    assert "ERROR command" in lines[2]
    assert "ZeroDivisionError" in "".join(lines)
    assert "too little" not in "".join(lines)
    assert (folder / "holdfast.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="places of ours are root's")
def test_the_level_is_the_environments(folder: Path) -> None:
    assert "too little" in said(folder, HOLDFAST_LOG="debug")
    (folder / "holdfast.log").unlink()
    assert "a name" not in said(folder, HOLDFAST_LOG="error")


@pytest.mark.skipif(os.geteuid() != 0, reason="places of ours are root's")
def test_a_long_file_makes_room(folder: Path) -> None:
    write = into_file(folder / "a.log")
    for letter in (b"1", b"2", b"3"):
        write(letter * (LONGEST_FILE_BYTES + 1))
    assert (folder / "a.log.1").read_bytes()[:1] == b"3"
    write(b"4\n")
    assert (folder / "a.log").read_bytes() == b"4\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="places of ours are root's")
def test_a_file_that_nobody_can_put_aside_stays_below_twice_the_length(folder: Path) -> None:
    """Another process was stopped while it does so."""
    write = into_file(folder / "a.log")
    write(b"first\n")
    words = b"1" * (LONGEST_FILE_BYTES // 4)
    with (folder / "a.log").open("rb") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        for _ in range(12):
            write(words)
        assert LONGEST_FILE_BYTES < (folder / "a.log").stat().st_size <= 2 * LONGEST_FILE_BYTES
    write(words)
    write(b"again\n")
    assert (folder / "a.log").read_bytes() == b"again\n"


ONE_MORE = """
import sys
from pathlib import Path
from holdfast.system.messages.logs import into_file
opened = []
write = into_file(Path(sys.argv[1]))
write(b"first\\n")
sys.addaudithook(lambda event, found: opened.append(str(found[0])) if event == "open" else None)
write(b"second\\n")
assert opened
assert not [path for path in opened if path.endswith("mountinfo")], opened
"""

A_DEFECT = """
import logging, sys
from pathlib import Path
from holdfast.system.messages import logs
from holdfast.system.messages.unwaited import wait_until_written
logs.set_up("command", write=logs.into_file(Path(sys.argv[1])))
logging.getLogger("holdfast.anything").info("%d", "no number")
logging.getLogger("holdfast.anything").info("the next one")
wait_until_written(30)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="places of ours are root's")
def test_the_mount_table_is_not_read_for_each_line(folder: Path) -> None:
    """It may have thousands of lines, and the interpreter is needed for requests."""
    subprocess.run([sys.executable, "-c", ONE_MORE, folder / "a.log"], check=True, timeout=60)
    assert (folder / "a.log").read_bytes() == b"first\nsecond\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="places of ours are root's")
def test_another_folder_in_its_place_is_judged(folder: Path) -> None:
    write = into_file(folder / "a.log")
    write(b"first\n")
    folder.rename(folder.with_name("before"))
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(Untrusted):
        write(b"second\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="places of ours are root's")
def test_a_second_name_of_the_file_silences_nobody(folder: Path) -> None:
    write = into_file(folder / "a.log")
    write(b"first\n")
    os.link(folder / "a.log", folder / "backup")
    write(b"second\n")
    assert (folder / "a.log").read_bytes() == b"second\n"
    assert (folder / "a.log.1").read_bytes() == (folder / "backup").read_bytes() == b"first\n"


def test_one_of_several_writers_makes_room(tmp_path: Path) -> None:
    """Each of them found the file too long; the second one is late."""
    log, old = tmp_path / "a.log", tmp_path / "a.log.1"
    log.write_bytes(b"long")
    place = os.open(tmp_path, os.O_PATH)
    busy, first, late = (os.open(log, os.O_WRONLY) for _ in range(3))
    try:
        fcntl.flock(busy, fcntl.LOCK_EX)
        _put_aside(first, place, log.name)
        assert not old.exists(), "another one is doing it"
        fcntl.flock(busy, fcntl.LOCK_UN)
        _put_aside(first, place, log.name)
        fcntl.flock(first, fcntl.LOCK_UN)
        log.write_bytes(b"short")
        _put_aside(late, place, log.name)
    finally:
        for each in (place, busy, first, late):
            os.close(each)
    assert (log.read_bytes(), old.read_bytes()) == (b"short", b"long")


@pytest.mark.skipif(os.geteuid() != 0, reason="places of ours are root's")
def test_words_that_cannot_be_put_together_hurt_nobody(folder: Path) -> None:
    if journald.is_there():
        pytest.skip("this host has a journal, which gets the records")
    log = folder / "holdfast.log"
    subprocess.run([sys.executable, "-c", A_DEFECT, log], check=True, timeout=60)
    assert log.read_text().endswith("the next one\n")


def test_a_journal_gets_fields_and_lines_of_any_length(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        journal.settimeout(20)
        assert journald.send({"MESSAGE": "one\ntwo", "PRIORITY": "4"}, path)
        length = (7).to_bytes(8, "little")
        assert journal.recv(1 << 17) == b"MESSAGE\n" + length + b"one\ntwo\nPRIORITY=4\n"
        assert journald.send({"MESSAGE": "x" * (1 << 20)}, path)
        assert len(journal.recv(1 << 17)) <= journald.MOST_BYTES + 10
    assert not journald.send({"MESSAGE": "nobody listens"}, path)


def test_nobody_waits_for_a_journal_that_is_full(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        while journald.send({"MESSAGE": "x"}, path):
            pass
