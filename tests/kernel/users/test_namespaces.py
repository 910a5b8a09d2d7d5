"""Users in other mount namespaces, behind bind mounts and in jails are found."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from holdfast.model.handle import HandleKind
from holdfast.system.mounts.all_namespaces import read_mount_points
from tests.kernel.users.programs import handles_of, mounts_at, only, point, program, users_at

__all__ = ["point"]


UNSHARE = ("unshare", "--mount", "--propagation", "private")


def test_a_copy_of_the_mount_in_another_namespace(point: Path) -> None:
    with program("f = open(point + '/f', 'w')", point, *UNSHARE) as process:
        here = {mount.id for mount in mounts_at(point) if mount.namespace == _own()}
        user = users_at(point)[process.pid]
    handle = only(user.handles)
    assert (handle.path, handle.inside) == (f"{point}/f", "f")
    assert handle.mount_id not in here
    assert user.mount_namespace != _own()


def test_a_bind_mount_of_a_subdirectory_elsewhere(point: Path, tmp_path: Path) -> None:
    (point / "d" / "e").mkdir(parents=True)
    (tmp_path / "else").mkdir()
    source = f"""
import subprocess
subprocess.run(['mount', '--bind', point + '/d', {str(tmp_path)!r} + '/else'], check=True)
os.chdir({str(tmp_path)!r} + '/else/e')
"""
    handle = only(handles_of(source, point, *UNSHARE))
    assert handle.kind is HandleKind.WORKING_DIRECTORY
    assert (handle.path, handle.inside) == (f"{tmp_path}/else/e", "d/e")


def test_a_bind_mount_of_a_single_file(point: Path, tmp_path: Path) -> None:
    (point / "f").touch()
    (tmp_path / "file").touch()
    subprocess.run(["mount", "--bind", point / "f", tmp_path / "file"], check=True)
    try:
        handle = only(handles_of(f"f = open({str(tmp_path / 'file')!r})", point))
    finally:
        subprocess.run(["umount", tmp_path / "file"], check=True)
    assert (handle.path, handle.inside) == (f"{tmp_path}/file", "f")


def test_a_jail_in_another_namespace(point: Path) -> None:
    source = "os.mkdir(point + '/j'); os.chroot(point + '/j'); os.chdir('/'); f = open('/x', 'w')"
    handles = handles_of(source, point, *UNSHARE)
    assert {handle.inside for handle in handles} == {"j", "j/x"}


def test_another_pid_and_user_namespace(point: Path) -> None:
    source = "f = open(point + '/f', 'w')"
    wrapper = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
    with program(source, point, *wrapper):
        users = users_at(point)
    assert [each.inside for user in users.values() for each in user.handles] == ["f"]


def test_a_process_in_a_jail_shows_the_mounts_of_its_whole_namespace(point: Path) -> None:
    with program("os.mkdir(point + '/j'); os.chroot(point + '/j')", point, *UNSHARE) as process:
        paths = [mount.path for mount in read_mount_points(process.pid)]
    assert str(point) in paths
    assert "/" in paths


def _own() -> int:
    return read_mount_points(os.getpid())[0].namespace
