"""Every command on a real volume, as a person types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.but_times import but_times
from tests.waiting import wait_until

Run = Callable[..., Any]


class Appender(threading.Thread):
    """Appends numbered lines, each made durable, until it is stopped; counts what went wrong."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._stopping = threading.Event()
        self.lines = 0
        self.errors: list[OSError] = []

    def run(self) -> None:
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        try:
            while not self._stopping.wait(0.005):
                os.write(descriptor, b"%d\n" % self.lines)
                os.fdatasync(descriptor)
                self.lines += 1
        except OSError as error:
            self.errors.append(error)
        finally:
            os.close(descriptor)

    def stop(self) -> None:
        """End it; everything that it counted must be in the file, in order."""
        self._stopping.set()
        self.join()
        assert self.errors == []
        expected = [str(number) for number in range(self.lines)]
        assert self._path.read_text().split()[: self.lines] == expected


@pytest.fixture
def mount(run_holdfast: Run, ram_directory: Path, disk_directory: Path) -> Iterator[Path]:
    """A volume `bank` with two legs, mounted; deleted afterwards, whatever became of it."""
    path = disk_directory / "mnt"
    legs = [f"--leg=file:{ram_directory}/{number}.img" for number in (1, 2)]
    run_holdfast("volume", "create", "bank", "--size", "64M", "--mount", path, *legs)
    yield path
    if any(volume["name"] == "bank" for volume in run_holdfast("volume", "list", json=True)):
        run_holdfast("volume", "delete", "bank", "--yes")


def test_legs_come_and_go_under_a_writer(
    run_holdfast: Run, mount: Path, ram_directory: Path
) -> None:
    writer = Appender(mount / "log")
    writer.start()
    third, fourth = (f"file:{ram_directory}/{number}.img" for number in (3, 4))
    run_holdfast("leg", "add", "bank", third)
    run_holdfast("leg", "replace", "bank", "1", fourth)
    refused = run_holdfast("leg", "remove", "bank", "2", check=False)
    assert refused.returncode == 3 and refused.stderr.startswith("error[CONFIRM]")
    run_holdfast("leg", "remove", "bank", "2", "--yes")
    run_holdfast("leg", "add", "bank", f"file:{ram_directory}/5.img", "--spare")
    writer.stop()
    shown = run_holdfast("volume", "show", "bank", json=True)
    states = {leg["url"]: leg["state"] for leg in shown["legs"]}
    assert states == {third: "in-sync", fourth: "in-sync", f"file:{ram_directory}/5.img": "spare"}
    assert shown["state"] == "healthy" and shown["gate"]["errors_returned"] == 0


def test_a_hold_withholds_and_its_receipt_says_for_how_long(run_holdfast: Run, mount: Path) -> None:
    writer = Appender(mount / "log")
    writer.start()
    run_holdfast("volume", "hold", "bank", "--for", "1m", "--reason", "a test of it")
    (status,) = run_holdfast("status", json=True)
    assert status["state"] == "held"
    assert "a test of it" in status["gate"]["hold_reason"]
    assert [each["mend"] for each in status["troubles"]] == ["holdfast volume release bank"]
    told = run_holdfast("status", "bank", "--check", check=False)
    assert told.returncode == 1 and "bank needs attention" in told.stdout
    assert 0 < status["gate"]["hold_deadline"] - time.time() <= 60
    refused = run_holdfast("volume", "detach", "bank", check=False)
    assert refused.returncode == 6 and refused.stderr.startswith("error[HELD]")
    run_holdfast("volume", "release", "bank")
    assert run_holdfast("status", "-x", "--check").stdout == "nothing is wrong\n"
    writer.stop()
    wait_until(lambda: len(run_holdfast("receipt", "list", "bank", json=True)) == 1)
    (listed,) = run_holdfast("receipt", "list", "bank", json=True)
    receipt = run_holdfast("receipt", "show", listed["id"][:6], json=True)
    assert receipt == listed
    assert receipt["strategy"] == "hold" and receipt["errors_returned"] == 0
    assert run_holdfast("receipt", "list", "--since", "1h ago", json=True) == [receipt]
    assert run_holdfast("receipt", "list", "--until", "yesterday", json=True) == []
    follower = [str(Path(sys.executable).with_name("holdfast")), "receipt", "list", "--follow"]
    with subprocess.Popen(follower, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None and "hold: " in following.stdout.readline()
        following.send_signal(signal.SIGINT)
    assert following.returncode == 130
    text = run_holdfast("receipt", "show", receipt["id"]).stdout
    assert "a test of it" in text and "+" in text and "\x1b" not in text


@pytest.mark.parametrize("fault", ["leg-eio", "leg-gone", "worker-kill"])
def test_a_drill_leaves_a_receipt_and_no_error(run_holdfast: Run, mount: Path, fault: str) -> None:
    writer = Appender(mount / "log")
    writer.start()
    run_holdfast("drill", "bank", "--fault", fault, "--for", "500ms")
    wanted = "takeover" if fault == "worker-kill" else "failover"

    def finished() -> bool:
        receipts = run_holdfast("receipt", "list", "bank", json=True)
        shown = run_holdfast("volume", "show", "bank", json=True)
        return shown["state"] == "healthy" and wanted in {entry["strategy"] for entry in receipts}

    wait_until(finished)
    writer.stop()
    for receipt in run_holdfast("receipt", "list", json=True):
        assert receipt["errors_returned"] == 0


def test_a_volume_is_found_again_without_the_catalog(
    run_holdfast: Run, mount: Path, ram_directory: Path, holdfast_home: Path
) -> None:
    (mount / "file").write_text("content")
    before = run_holdfast("volume", "show", "bank", json=True)
    run_holdfast("volume", "detach", "bank")
    (holdfast_home / "state").rename(holdfast_home / "lost")
    missing = run_holdfast("volume", "attach", "bank", check=False)
    assert missing.returncode == 4 and missing.stderr.startswith("error[NOVOLUME]")
    leg = ("--leg", f"file:{ram_directory}/1.img")
    run_holdfast("volume", "attach", "bank", *leg, "--mount", str(mount))
    assert (mount / "file").read_text() == "content"
    after = run_holdfast("volume", "show", "bank", json=True)
    for name in ("id", "uuid", "label", "filesystem", "size_bytes", "mount", "journal"):
        assert after[name] == before[name]


def test_dry_runs_change_nothing(run_holdfast: Run, mount: Path, ram_directory: Path) -> None:
    before = run_holdfast("volume", "show", "bank", json=True)
    images = sorted(entry.name for entry in ram_directory.iterdir())
    other = f"file:{ram_directory}/9.img"
    for command in (
        ("leg", "add", "bank", other),
        ("leg", "replace", "bank", "1", other),
        ("leg", "remove", "bank", "1"),
        ("volume", "resize", "bank", "128M"),
        ("volume", "delete", "bank"),
        ("volume", "create", "other", "--size", "64M", "--mount", f"{mount}2", "--leg", other),
    ):
        assert "Would" in run_holdfast(*command, "--dry-run").stdout
    after = run_holdfast("volume", "show", "bank", json=True)
    for shown in (before, after):
        shown.pop("gate")
        shown["legs"] = but_times(shown["legs"])  # the file system writes when it likes
    assert after == before
    assert sorted(entry.name for entry in ram_directory.iterdir()) == images


def test_delete_refuses_while_in_use_and_names_who(run_holdfast: Run, mount: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=mount) as user:
        try:
            refused = run_holdfast("volume", "delete", "bank", "--yes", check=False)
            assert refused.returncode == 3
            assert refused.stderr.startswith("error[BUSY]") and str(user.pid) in refused.stderr
            assert json.loads(run_holdfast("status", "--json").stdout)[0]["state"] == "healthy"
        finally:
            user.kill()


def test_boot_attaches_what_was_not_detached_on_purpose(run_holdfast: Run, mount: Path) -> None:
    with open(mount / "file", "w") as file:
        file.write("content")
        file.flush()
        os.fsync(file.fileno())
    gate = run_holdfast("volume", "show", "bank", json=True)["gate"]
    for process in (gate["keeper_pid"], gate["worker_pid"]):
        os.kill(process, signal.SIGSTOP)  # neither may restore the other: as after a power cut
    for process in (gate["keeper_pid"], gate["worker_pid"]):
        os.kill(process, signal.SIGKILL)
    run_holdfast("recover")
    run_holdfast("volume", "attach", "--wanted")
    assert (mount / "file").read_text() == "content"
    run_holdfast("volume", "detach", "bank")
    run_holdfast("volume", "attach", "--wanted")
    assert run_holdfast("volume", "show", "bank", json=True)["state"] == "detached"
    neither = run_holdfast("volume", "attach", check=False)
    assert neither.returncode == 2


def test_all_are_detached_when_the_host_goes_down_and_attached_when_it_starts(
    run_holdfast: Run, mount: Path, ram_directory: Path, disk_directory: Path
) -> None:
    """But for one that is in use, which keeps no other from it."""
    other = disk_directory / "other"
    url = f"--leg=file:{ram_directory}/other.img"
    run_holdfast("volume", "create", "other", "--size", "64M", "--mount", other, url)
    with open(mount / "in use", "w"):
        refused = run_holdfast("volume", "detach", "--wanted", check=False)
    assert refused.returncode == 3 and "bank" in refused.stderr
    states = {each["name"]: each["state"] for each in run_holdfast("volume", "list", json=True)}
    assert states == {"bank": "healthy", "other": "detached"}
    run_holdfast("volume", "detach", "--wanted")
    assert not os.path.ismount(mount)
    run_holdfast("volume", "attach", "--wanted")
    assert run_holdfast("status", "--check").returncode == 0
    assert os.path.ismount(mount) and os.path.ismount(other)
    run_holdfast("volume", "detach", "other")
    run_holdfast("volume", "detach", "--wanted")
    run_holdfast("volume", "attach", "--wanted")
    assert not os.path.ismount(other)
    run_holdfast("volume", "delete", "other", "--yes")
