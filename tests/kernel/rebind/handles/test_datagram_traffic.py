"""Datagrams with running numbers come from everywhere while their socket moves: each comes once."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.handles.test_datagrams import (
    BOUND,
    MADE,
    all_identical,
    shell,
)
from tests.waiting import wait_until

__all__ = ["shell"]

RECEIVER = (
    "got, bad = {}, []",
    "exec('def work():\\n while True:\\n  select.select([s], [], [])\\n"
    "  who, n = s.recv(99).split()\\n  n = int(n)\\n"
    "  n == got.get(who, 0) or bad.append((who, n))\\n"
    "  got[who] = n + 1')",
    "threading.Thread(target=work, daemon=True).start()",
    "exec('child = os.fork()\\nif not child:\\n while True: select.select([], [], [], 99)')",
)
SENDER = (
    "sent, over, bad = [0], [], []",
    "import time",
    'exec(\'def work():\\n while not over:\\n  try: s.send(b"%s %d" % (name, sent[0]))\\n'
    "  except OSError as error: bad.append(error); return\\n  sent[0] += 1\\n  time.sleep(0.001)')",
)
BEGUN = "t = threading.Thread(target=work)", "t.start()"
REFUSED = (FileNotFoundError, ConnectionRefusedError, BlockingIOError)
"""What who sends by name may see during a move."""


def by_name(path: Path, name: bytes, over: threading.Event, sent: dict[bytes, int]) -> None:
    """Send by name, with a new socket each time."""
    flags = socket.SOCK_NONBLOCK if name == b"unwaiting" else 0
    for number in count():
        while not over.wait(0.001):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | flags) as end:
                try:
                    end.sendto(b"%s %d" % (name, number), str(path))
                    break
                except REFUSED:
                    continue
        else:
            return
        sent[name] = number + 1


def test_each_comes_once(bench: Bench, shell: Callable[..., Program]) -> None:
    path = bench.path / "s"
    receiver = shell(BOUND.format(str(path)), *RECEIVER)
    path.chmod(0o777)
    senders = {
        b"plain": shell("name = b'plain'", MADE, f"s.connect({str(path)!r})", *SENDER, *BEGUN),
        b"apart": shell(
            "name = b'apart'",
            MADE,
            f"s.connect({str(path)!r})",
            "os.setresuid(65534, 65534, 65534)",
            *SENDER,
            *BEGUN,
            within=("unshare", "--net", "--mount", "--pid", "--fork"),
        ),
    }
    over, sent = threading.Event(), dict[bytes, int]()
    threads = [
        threading.Thread(target=by_name, args=(path, name, over, sent))
        for name in (b"waiting", b"unwaiting")
    ]
    for each in threads:
        each.start()
    try:
        for filesystem in ("xfs", "btrfs", "ext4") * 2:
            lines = bench.move(filesystem)
            assert all_identical(lines), lines
    finally:
        over.set()
        for each in threads:
            each.join()
    for name, sender in senders.items():
        assert sender.ask("over.append(1)") == "None"
        assert sender.ask("t.join()") == "None"
        assert sender.ask("bad") == "[]"
        sent[name] = int(sender.ask("sent[0]"))
    wait_until(lambda: receiver.ask("sum(got.values())") == str(sum(sent.values())))
    assert receiver.ask("bad") == "[]"
    assert receiver.ask("sorted(got.items())") == repr(sorted(sent.items()))
    assert all(sent.values())
    os.kill(int(receiver.ask("child")), 9)


def test_two_that_are_connected_to_each_other(bench: Bench, shell: Callable[..., Program]) -> None:
    """Both send and receive; what waits in either goes along."""
    paths = [str(bench.path / name) for name in "ab"]
    programs = [
        shell(f"name = b'{name}'", BOUND.format(path))
        for name, path in zip("ab", paths, strict=True)
    ]
    for program, other in zip(programs, reversed(paths), strict=True):
        assert program.ask(f"s.connect({other!r})") == "None"
    for program in programs:
        for line in (*RECEIVER, *SENDER, *BEGUN):
            assert program.ask(line) == "None"
    for filesystem in ("xfs", "btrfs", "ext4"):
        lines = bench.move(filesystem)
        assert all_identical(lines), lines
    sent = []
    for program in programs:
        assert program.ask("over.append(1)") == "None"
        assert program.ask("t.join()") == "None"
        sent.append(int(program.ask("sent[0]")))
    for program, number in zip(programs, reversed(sent), strict=True):
        wait_until(lambda it=program, all_of=number: it.ask("sum(got.values())") == str(all_of))
        assert program.ask("bad") == "[]"
        os.kill(int(program.ask("child")), 9)
    assert all(sent)
