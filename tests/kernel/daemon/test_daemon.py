"""The daemon tells somebody of a lost leg, once, also when it is killed meanwhile; and the end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.kernel.daemon.pager import daemon, pager_in, told
from tests.waiting import wait_until

Run = Callable[..., Any]


def waiting(run_holdfast: Run) -> int:
    """How many messages are on their way: one that the daemon dies with comes once more."""
    [destination] = run_holdfast("alert", "list", json=True)
    return int(destination["waiting"])


def test_a_lost_leg_is_told_once_and_its_end(run_holdfast: Run, ram_directory: Path) -> None:
    log, mount = ram_directory / "log", ram_directory / "mnt"
    pager = pager_in(ram_directory, log)
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
