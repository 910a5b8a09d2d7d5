"""A control group of one's own: entered, kept, told from a stranger's; and limits that remain."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.system.mounts.mount_table import mounts
from holdfast.system.resources import own_group
from holdfast.system.resources.own_group import (
    OwnGroup,
    memory_limit,
    move_to_own_group,
    remove_group,
)
from tests.scenarios.memory_group import MemoryGroup

LIMIT_BYTES = 256 << 20
NOBODY = 65534


@pytest.fixture
def name() -> Iterator[str]:
    """Of a group of this test, gone afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    remove_group(name)
    assert not folders(name)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def limited() -> Iterator[MemoryGroup]:
    """A group whose memory is limited."""
    with MemoryGroup(f"holdfast-test-{uuid.uuid4().hex[:8]}", LIMIT_BYTES) as group:
        yield group


def folders(name: str) -> list[Path]:
    """The groups of that name, in all hierarchies."""
    tops = {each.path for each in mounts() if each.filesystem in ("cgroup", "cgroup2")}
    places = [Path(top) / "holdfast" / name for top in tops]
    return [place for place in places if place.exists()]


def is_in(pid: int, name: str) -> bool:
    """Whether a process is in the groups of that name, and there are some."""
    found = folders(name)
    return bool(found) and all(
        str(pid) in (each / "cgroup.procs").read_text().split() for each in found
    )


def test_out_of_a_limit(name: str, sleeper: subprocess.Popen[bytes], limited: MemoryGroup) -> None:
    limited.add(sleeper.pid)
    assert memory_limit(sleeper.pid) == LIMIT_BYTES
    move_to_own_group(sleeper.pid, name)
    assert is_in(sleeper.pid, name)
    assert memory_limit(sleeper.pid) is None


def test_a_volume_may_be_called_like_a_file_of_every_group(
    sleeper: subprocess.Popen[bytes], limited: MemoryGroup
) -> None:
    limited.add(sleeper.pid)
    move_to_own_group(sleeper.pid, "tasks")
    assert memory_limit(sleeper.pid) is None
    sleeper.kill()
    sleeper.wait()
    remove_group("tasks")
    assert not folders("tasks-group")


def test_whoever_is_moved_away_is_moved_back(
    name: str, sleeper: subprocess.Popen[bytes], limited: MemoryGroup
) -> None:
    with closing(OwnGroup(name)) as group:
        group.keep(sleeper.pid)
        for _ in range(3):
            limited.add(sleeper.pid)
            assert not is_in(sleeper.pid, name)
            group.look()
            assert is_in(sleeper.pid, name)
        group.keep()
        limited.add(sleeper.pid)
        group.look()  # nobody is looked after any more
        assert sleeper.pid in limited.members()


def test_whoever_is_moved_away_at_once_is_moved_back(
    name: str,
    sleeper: subprocess.Popen[bytes],
    limited: MemoryGroup,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enter = own_group._enter

    def enter_and_be_moved(door: int, pid: int) -> bool:
        entered = enter(door, pid)
        limited.add(pid)
        return entered

    with closing(OwnGroup(name)) as group:
        with monkeypatch.context() as patch:
            patch.setattr(own_group, "_enter", enter_and_be_moved)
            group.keep(sleeper.pid)
        assert sleeper.pid in limited.members()
        group.look()
        assert is_in(sleeper.pid, name)


def test_a_group_that_was_removed_is_made_anew(
    name: str, sleeper: subprocess.Popen[bytes], limited: MemoryGroup
) -> None:
    with closing(OwnGroup(name)) as group:
        group.keep(sleeper.pid)
        for folder in folders(name):
            (folder.parents[1] / "cgroup.procs").write_text(str(sleeper.pid))
        remove_group(name)
        assert not folders(name)
        group.look()
        assert is_in(sleeper.pid, name)


def test_the_group_of_a_stranger_is_not_entered(
    name: str, sleeper: subprocess.Popen[bytes], limited: MemoryGroup
) -> None:
    move_to_own_group(sleeper.pid, name)
    found = folders(name)
    for folder in found:
        os.chown(folder, NOBODY, NOBODY)
        (folder.parents[1] / "cgroup.procs").write_text(str(sleeper.pid))
    limited.add(sleeper.pid)
    move_to_own_group(sleeper.pid, name)
    assert sleeper.pid in limited.members()
    assert not any((folder / "cgroup.procs").read_text() for folder in found)


def test_what_covers_the_control_groups_is_not_taken_for_them(name: str, tmp_path: Path) -> None:
    tops = sorted({each.path for each in mounts() if each.filesystem in ("cgroup", "cgroup2")})
    script = "".join(f"mount -t tmpfs cover {top}\n" for top in tops)
    script += (
        f'exec {sys.executable} -c "from holdfast.system.resources import own_group as o; '
        f"import os; o.move_to_own_group(os.getpid(), '{name}'); "
        f"print(open('/proc/self/cgroup').read())\"\n"
    )
    done = _privately(script)
    assert name not in done
    assert not folders(name)


@pytest.mark.parametrize("seen", ["the limited group alone", "nothing writable"])
def test_doctor_tells_of_a_limit_that_cannot_be_left(limited: MemoryGroup, seen: str) -> None:
    """As in containers."""
    mount = limited.path.parent
    version = "cgroup2" if (mount / "cgroup.controllers").exists() else "cgroup"
    options = "" if version == "cgroup2" else "-o memory"
    script = f"echo $$ > {limited.path}/cgroup.procs\n"
    if seen == "nothing writable":
        script += f"mount -o remount,bind,ro {mount}\nexec {DOCTOR}"
    else:
        again = f"umount {mount}; mount -t {version} {options} none {mount}; exec {DOCTOR}"
        script += f"exec unshare -C sh -c '{again}'"
    assert "limited memory limit: a control group limits memory to 256.0 MiB" in _privately(script)


DOCTOR = f"{Path(sys.executable).with_name('holdfast')} doctor"


def _privately(script: str) -> str:
    """What a script says in a mount namespace of its own."""
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout
