"""Somebody deletes the wrong rows: a clone of a time before has those of that time, exactly."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from holdfast.service import Holdfast, NewVolume
from tests.kernel.copies.copied import forgotten
from tests.waiting import wait_until


def holdfast(*arguments: object) -> str:
    """What a command prints; it must succeed."""
    command = [sys.executable, "-m", "holdfast.cli", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(name="shop")
def _shop(holdfast_home: Path, disk_directory: Path) -> Iterator[Path]:
    """A volume with a history, where it is mounted."""
    mount = disk_directory / "shop"
    leg = f"file:{disk_directory}/leg.img"
    with Holdfast() as service:
        service.create_volume(
            NewVolume(name="shop", size_bytes=64 << 20, mount_path=str(mount), leg_urls=(leg,))
        )
        service.histories.keep("shop", str(disk_directory / "history"), None, None)
    try:
        yield mount
    finally:
        with Holdfast() as service:
            service.delete_volume("shop")


def paid(database: Path) -> list[int]:
    """The orders that are there."""
    with closing(sqlite3.connect(database)) as connection:
        return [number for (number,) in connection.execute("select number from paid order by 1")]


def test_rows_of_a_time_are_in_its_clone(shop: Path, disk_directory: Path) -> None:
    database, old = shop / "orders.db", disk_directory / "old"
    times = []
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("pragma journal_mode=wal")
        connection.execute("pragma synchronous=full")
        connection.execute("create table paid (number integer)")
        for number in range(40):
            if number == 10:
                holdfast("copy", "add", "shop", f"file:{disk_directory}/copy.img")
            connection.execute("insert into paid values (?)", (number,))
            connection.commit()
            acknowledged = time.time()
            wait_until(lambda since=acknowledged: time.time() > since + 0.002)
            times.append(acknowledged + 0.001)
        connection.execute("delete from paid where number < 35")
        connection.commit()
    at = [datetime.fromtimestamp(each).isoformat(" ") for each in times]
    asked = ("clone", "shop", "old", "--at", at[12], "--mount", old)
    plan = json.loads(holdfast(*asked, "--dry-run", "--json"))
    assert plan["copy"]["url"].endswith("copy.img") and not old.exists()
    holdfast(*asked)
    assert paid(old / "orders.db") == list(range(13))
    with Holdfast() as service:
        forgotten(service, "old", disk_directory)
        service.histories.clones.make("shop", "old", at[39], str(old))
        assert paid(old / "orders.db") == list(range(40))
        forgotten(service, "old", disk_directory)
    assert paid(database) == [35, 36, 37, 38, 39]
    assert "usable" in holdfast("copy", "list", "shop")
    holdfast("copy", "remove", "shop", f"file:{disk_directory}/copy.img", "--yes")
