"""The daemon tells somebody of a lost leg, once, also when it is killed meanwhile; and the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.waiting import wait_until

Run = Callable[..., Any]


@contextmanager
def daemon() -> Iterator[subprocess.Popen[bytes]]:
    """It runs; killed at the end."""
    command = [str(Path(sys.executable).with_name("holdfast")), "daemon", "--interval", "200ms"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            assert b"watching" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def told(log: Path) -> list[dict[str, Any]]:
    """What has arrived, in order."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def waiting(run_holdfast: Run) -> int:
    """How many messages are on their way: one that the daemon dies with comes once more."""
    [destination] = run_holdfast("alert", "list", json=True)
    return int(destination["waiting"])


def test_a_lost_leg_is_told_once_and_its_end(run_holdfast: Run, ram_directory: Path) -> None:
    log, mount = ram_directory / "log", ram_directory / "mnt"
    pager = ram_directory / "pager"
    pager.write_text(f"#!/bin/sh\ncat >> {log}\necho >> {log}\n")
    pager.chmod(0o755)
    legs = [word for name in "ab" for word in ("--leg", f"file:{ram_directory}/{name}.img")]
    run_holdfast("volume", "create", "shop", "--size", "64M", "--mount", mount, *legs)
    with ExitStack() as stack:
        stack.callback(run_holdfast, "volume", "delete", "shop", "--yes")
        run_holdfast("alert", "add", f"command:{pager}")
        run_holdfast("alert", "test")
        assert [each["kind"] for each in told(log)] == ["test"]
        first = stack.enter_context(daemon())
        refused = run_holdfast("daemon", check=False)
        assert refused.returncode == 3 and str(first.pid) in refused.stderr

        (ram_directory / "b.img").rename(ram_directory / "away.img")
        wait_until(lambda: len(told(log)) == 2 and not waiting(run_holdfast))
        first.send_signal(signal.SIGKILL)
        first.wait()
        stack.enter_context(daemon())
        (ram_directory / "away.img").rename(ram_directory / "b.img")
        wait_until(lambda: len(told(log)) == 3)
        _, raised, ended = told(log)
        assert (raised["kind"], ended["kind"]) == ("raised", "ended")
        assert raised["volume"] == "shop" and "leg 2" in raised["words"] and raised["mend"]
        wait_until(lambda: not waiting(run_holdfast))
