"""Who is frozen and by what, decided from values; nobody is touched."""

from __future__ import annotations

import os

import pytest

from holdfast.applications.freezers import FREEZERS
from holdfast.applications.freezers.policy import PREFERRED, FreezePlan, plan_freeze
from holdfast.applications.freezers.protocol import Occasion
from holdfast.applications.freezers.servers import Protection, Servers, servers_below
from holdfast.errors import CannotFreeze, InvalidOption
from holdfast.model.handle import Application, User
from holdfast.model.mountpoint import MountPoint
from holdfast.system.processes.process_state import read_state


def user(pid: int) -> User:
    """A process that exists, as a user of a volume."""
    state = read_state(pid)
    assert state is not None
    return User(pid, state.start_time, state.name, "", 0, Application("test"), (pid,), 0)


def plan(*users: User, by: str | None = None, spared: tuple[int, ...] = ()) -> FreezePlan:
    occasion = Occasion("0" * 32, "shop", 0)
    freezers = {name: make(occasion) for name, make in FREEZERS.items()}
    protection = Protection(Servers(), frozenset(spared))
    return plan_freeze("shop", "adopted", users, protection, freezers, by)


def point(device: str, filesystem: str, source: str = "none", options: str = "") -> MountPoint:
    return MountPoint(
        id=1,
        namespace=1,
        witness_pid=1,
        path="/mnt",
        inside="",
        options="rw",
        super_options=options,
        filesystem=filesystem,
        source=source,
        device=device,
    )


def test_every_preference_is_a_way() -> None:
    assert {name for names in PREFERRED.values() for name in names} <= set(FREEZERS)


def test_a_user_is_frozen_and_a_spared_one_is_named() -> None:
    made = plan(user(os.getppid()), by="signal")
    assert [process.pid for process in made.processes] == [os.getppid()]
    with pytest.raises(CannotFreeze, match="started the command"):
        plan(user(os.getppid()), by="signal", spared=(os.getppid(),))


def test_ourselves_and_the_first_process_are_left_out() -> None:
    made = plan(user(os.getpid()), user(1), user(os.getppid()), by="signal")
    assert [process.pid for process in made.processes] == [os.getppid()]
    assert {finding.subject.rpartition(" ")[2] for finding in made.findings} == {
        f"{os.getpid()})",
        "1)",
    }


def test_nobody_to_freeze() -> None:
    with pytest.raises(CannotFreeze, match="no process uses shop"):
        plan(by="signal")


def test_no_such_way() -> None:
    with pytest.raises(InvalidOption, match="magic"):
        plan(user(os.getppid()), by="magic")


def test_a_volume_without_a_gate_cannot_be_held() -> None:
    with pytest.raises(CannotFreeze, match="has no gate"):
        plan(user(os.getppid()), by="hold")


@pytest.mark.parametrize(
    ("mounted", "connection"),
    [(point("0:99", "fuse.sshfs"), 99), (point("8:1", "fuseblk", "/dev/sda1"), 8 << 20 | 1)],
)
def test_the_connection_of_a_fuse_mount(mounted: MountPoint, connection: int) -> None:
    """The number that fdinfo of its server shows is the kernel's number of the device."""
    assert servers_below((mounted,)).connections == {connection}
