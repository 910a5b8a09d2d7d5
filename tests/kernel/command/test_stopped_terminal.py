"""A terminal that takes no output (Ctrl-S), or stops its command (Ctrl-Z), keeps nobody standing:
whoever holds an application waits for no terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.service import Holdfast
from tests.kernel.restoration.bench import Application, application, make_image, mounted
from tests.waiting import wait_until

AT_MOST_SECONDS = 30.0
"""For the whole migration; the processes would stand until its deadline, which is later."""


@pytest.fixture
def running(settings: Settings, ram_directory: Path) -> Iterator[Application]:
    """An application on an adopted volume `data`."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as application_:
            yield application_


@contextmanager
def migration(target: Path, errors: int) -> Iterator[subprocess.Popen[bytes]]:
    """The command, with its progress on this descriptor; it goes on in the end."""
    process = subprocess.Popen(
        [Path(sys.executable).with_name("holdfast"), "migrate", "data", f"file:{target}", "--yes"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env={**os.environ, "TERM": "xterm"},
        process_group=0,
    )
    try:
        yield process
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Both sides of one: that of the person, and that of the command."""
    person, command = pty.openpty()
    try:
        yield person, command
    finally:
        os.close(person)
        os.close(command)


def read_until(person: int, words: bytes) -> None:
    text = b""
    while words not in text:
        text += os.read(person, 4096)


def is_moved(settings: Settings) -> bool:
    with Holdfast(settings) as holdfast:
        return any(receipt.outcome == "done" for receipt in holdfast.receipts("data"))


def wait_for_child(pid: int, name: str) -> int:
    def found() -> list[int]:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(each) for each in children if name_of(each) == name]

    wait_until(lambda: bool(found()))
    return found()[0]


def name_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def tasks_of(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def waits_for_its_terminal(task: Path) -> bool:
    """Whether it waits in write(2) to standard error (proc_pid_syscall(5))."""
    return (task / "syscall").read_text().startswith("1 0x2 ")


def tracer_of(pid: int) -> int:
    words = Path(f"/proc/{pid}/status").read_text().split()
    return int(words[words.index("TracerPid:") + 1])


def test_output_is_stopped(settings: Settings, running: Application, ram_directory: Path) -> None:
    with terminal() as (person, command), migration(ram_directory / "2.img", command) as process:
        copying = wait_for_child(process.pid, "holdfast-copy")
        os.kill(copying, signal.SIGSTOP)
        termios.tcflow(command, termios.TCOOFF)
        wait_until(lambda: any(map(waits_for_its_terminal, tasks_of(process.pid))))
        os.kill(copying, signal.SIGCONT)
        wait_until(lambda: is_moved(settings), timeout_seconds=AT_MOST_SECONDS)
        running.wait_for_more()
        assert process.poll() is None, "it has something to say"
        termios.tcflow(command, termios.TCOON)
        read_until(person, b"is on file:")
    assert running.verify() > 0


def test_the_command_is_stopped(
    settings: Settings, running: Application, ram_directory: Path
) -> None:
    """While the application stands."""
    with migration(ram_directory / "2.img", subprocess.DEVNULL) as process:
        wait_until(lambda: tracer_of(running.pid) == process.pid)
        process.send_signal(signal.SIGTSTP)
        wait_until(lambda: is_moved(settings), timeout_seconds=AT_MOST_SECONDS)
        running.wait_for_more()
    assert running.verify() > 0
