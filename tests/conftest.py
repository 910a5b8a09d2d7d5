"""What every test gets: a Holdfast of its own, and a check that it leaves nothing behind.

Everything a test makes lies in one of three folders of this run (disk, RAM disk, pytest's own), and
every process it starts inherits HOLDFAST_TEST_RUN; so mounts, loop devices and processes of this
run are told from those of anybody else on the host, and only ours are ever cleaned up.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from tests.leftovers import RUN_VARIABLE, Leftovers  # noqa: E402
from tests.own_mounts import leave_shared_mounts  # noqa: E402
from tests.signals import let_children_hear_signals  # noqa: E402

COMMAND_TIMEOUT_SECONDS = 120.0
LATE_DETACH_SECONDS = 3.0
SMALLEST_RAM_DISK_BYTES = 1 << 30


def pytest_configure(config: pytest.Config) -> None:
    let_children_hear_signals()
    config.addinivalue_line("markers", "root: needs root and the real kernel (FUSE, loop, mount)")
    config.addinivalue_line("markers", "leaves_nothing: leftovers are looked for after the test")


def pytest_sessionstart() -> None:
    if os.geteuid() == 0:
        leave_shared_mounts()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything outside tests/unit works on the real kernel."""
    unit = REPOSITORY / "tests" / "unit"
    for item in items:
        if not item.path.is_relative_to(unit):
            item.add_marker("root")
            item.add_marker("leaves_nothing")


def pytest_collection_finish() -> None:
    """What was collected stays: neither a fork nor its child shall look through it for garbage."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this host cannot do, with the reason; where CI is set that is a failure."""
    if item.get_closest_marker("root") is None:
        return
    reason = _missing_on_this_host()
    if reason and os.environ.get("CI"):
        pytest.fail(f"this host cannot run the tests: {reason}", pytrace=False)
    if reason:
        pytest.skip(reason)


def _missing_on_this_host() -> str:
    if os.geteuid() != 0:
        return "needs root"
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not Path(device).exists():
            return f"needs {device}"
    return ""


@pytest.fixture(scope="session")
def run_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Folders of this run on disk and on a RAM disk; both are gone afterwards."""
    disk = Path(tempfile.mkdtemp(prefix="hf-", dir="/var/tmp"))
    shared_memory = Path("/dev/shm")
    room = os.statvfs(shared_memory) if shared_memory.is_mount() else None
    if room and room.f_bavail * room.f_frsize >= SMALLEST_RAM_DISK_BYTES:
        ram = Path(tempfile.mkdtemp(prefix="hf-", dir=shared_memory))
        mounted = False
    else:
        ram = Path(tempfile.mkdtemp(prefix="hf-ram-", dir="/var/tmp"))
        mounted = os.geteuid() == 0
        if mounted:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=50%", "ram", str(ram)], check=True)
    os.environ[RUN_VARIABLE] = disk.name
    yield disk, ram
    left = Leftovers(disk.name, (disk, ram, tmp_path_factory.getbasetemp()), keep=(ram,))
    found = left.find()
    left.remove()
    if mounted:
        subprocess.run(["umount", str(ram)], check=True)
    for folder in (disk, ram):
        shutil.rmtree(folder)
    if found:
        pytest.fail("the run left behind:\n" + "\n".join(found), pytrace=False)


@pytest.fixture(autouse=True)
def leaves_nothing_behind(
    request: pytest.FixtureRequest,
    run_folders: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Clean up mounts, loop devices and processes that a test forgot, and fail that test."""
    yield
    if request.node.get_closest_marker("leaves_nothing") is None:
        return
    disk, ram = run_folders
    left = Leftovers(disk.name, (disk, ram, tmp_path_factory.getbasetemp()), keep=(ram,))
    found = left.find()
    deadline = time.monotonic() + LATE_DETACH_SECONDS
    while found and all(text.startswith("loop device") for text in found):
        # Somebody who looks at every block device had it open: it goes when they close it.
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
        found = left.find()
    if found:
        left.remove()
        remaining = left.find()
        text = f"{request.node.nodeid} left behind:\n" + "\n".join(found)
        if remaining:
            text += "\nand these could not be removed:\n" + "\n".join(remaining)
        pytest.fail(text, pytrace=False)


@pytest.fixture(scope="session")
def program_folder(run_folders: tuple[Path, Path]) -> Path:
    """For compiled programs that any user may execute.

    Not below pytest's own folder: each run of pytest closes that to other users, also for the runs
    beside it.
    """
    disk, _ = run_folders
    folder = disk / "programs"
    folder.mkdir()
    for path in (folder, disk):
        path.chmod(0o711)
    return folder


_numbers = itertools.count(1)


def _folder(parent: Path) -> Iterator[Path]:
    # Short on purpose: a control socket's path has at most 107 bytes.
    folder = parent / str(next(_numbers))
    folder.mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def disk_directory(leaves_nothing_behind: None, run_folders: tuple[Path, Path]) -> Iterator[Path]:
    """An empty directory on disk with a short path."""
    yield from _folder(run_folders[0])


@pytest.fixture
def ram_directory(leaves_nothing_behind: None, run_folders: tuple[Path, Path]) -> Iterator[Path]:
    """An empty directory on a tmpfs, for containers that should be fast."""
    yield from _folder(run_folders[1])


@pytest.fixture
def holdfast_home(disk_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh HOLDFAST_HOME on disk, in the environment of this process and of its children."""
    home = disk_directory / "home"
    home.mkdir()
    monkeypatch.setenv("HOLDFAST_HOME", str(home))
    return home


RunHoldfast = Callable[..., Any]


@pytest.fixture
def run_holdfast(holdfast_home: Path) -> RunHoldfast:
    """Run the command: `run_holdfast("volume", "list", json=True)`.

    Returns the parsed JSON with `json=True` (adds --json), otherwise the CompletedProcess (text).
    With `check` (the default) an exit status other than 0 fails the test and shows both outputs.
    """

    def run(
        *arguments: object,
        json: bool = False,
        check: bool = True,
        timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
        **environment: str,
    ) -> Any:
        command = [str(Path(sys.executable).with_name("holdfast")), *map(str, arguments)]
        if json:
            command.append("--json")
        result = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            env={**os.environ, **environment},
        )
        if check and result.returncode != 0:
            pytest.fail(
                f"{' '.join(command)}\nexit status {result.returncode}\n"
                f"{result.stdout}\n{result.stderr}",
                pytrace=False,
            )
        return parse(result.stdout) if json else result

    parse = json.loads
    return run
