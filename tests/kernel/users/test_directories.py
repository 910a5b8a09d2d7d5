"""Working directory and root are found, whatever is mounted on top."""

from __future__ import annotations

from pathlib import Path

from holdfast.applications.users import find_users
from holdfast.model.handle import HandleKind
from holdfast.model.mountpoint import MountPoint
from tests.faults.mounting import mount, unmount
from tests.kernel.users.programs import handles_of, mounts_at, only, point, program

__all__ = ["point"]


def test_working_directory(point: Path) -> None:
    handle = only(handles_of("os.mkdir(point + '/d'); os.chdir(point + '/d')", point))
    assert handle.kind is HandleKind.WORKING_DIRECTORY
    assert (handle.path, handle.inside) == (f"{point}/d", "d")


def test_working_directory_at_the_root_of_the_volume(point: Path) -> None:
    assert only(handles_of("os.chdir(point)", point)).inside == ""


def test_a_removed_working_directory(point: Path) -> None:
    source = "os.mkdir(point + '/d'); os.chdir(point + '/d'); os.rmdir(point + '/d')"
    handle = only(handles_of(source, point))
    assert (handle.inside, handle.deleted) == ("d", True)


def test_root(point: Path) -> None:
    source = "os.mkdir(point + '/jail'); os.chroot(point + '/jail'); os.chdir('/')"
    handles = handles_of(source, point)
    assert {handle.kind for handle in handles} == {HandleKind.WORKING_DIRECTORY, HandleKind.ROOT}
    assert {handle.inside for handle in handles} == {"jail"}


def test_a_descriptor_of_a_process_in_a_jail(point: Path) -> None:
    source = (
        "os.mkdir(point + '/jail'); os.chroot(point + '/jail'); os.chdir('/'); f = open('/x', 'w')"
    )
    handles = handles_of(source, point)
    assert [each.inside for each in handles if each.kind is HandleKind.FILE] == ["jail/x"]


def test_who_stands_below_a_mount_that_covers_the_volume_is_told_from_who_stands_above(
    point: Path,
) -> None:
    below = mounts_at(point)
    with program("os.chdir(point)", point) as lower:
        mount("cover", point, "tmpfs", "size=1048576")
        try:
            above = [each for each in mounts_at(point) if each.id != below[0].id]
            with program("os.chdir(point)", point) as upper:
                assert above[0].device != below[0].device
                found = _pids(below), _pids(above)
                expected = [lower.pid], [upper.pid]
        finally:
            unmount(point)
    assert found == expected


def _pids(mounts: list[MountPoint]) -> list[int]:
    return [user.pid for user in find_users(mounts)]
