"""A file of ours is believed by owner, mode, kind, number of names, and by the way to it."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.errors import Untrusted
from holdfast.system.files.trusted import fault_of, is_own_directory, open_file, own_directory

STRANGER = 65534


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("changing owners needs root")


def test_a_directory_is_made_private_with_its_parents(tmp_path: Path) -> None:
    own_directory(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert is_own_directory(tmp_path / "a" / "b")


def test_one_that_others_could_read_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(0o755)
    assert not is_own_directory(tmp_path / "a")
    own_directory(tmp_path / "a")
    assert is_own_directory(tmp_path / "a")


def _writable(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def _group_writable(path: Path) -> None:
    path.mkdir()
    path.chmod(0o770)


def _sticky(path: Path) -> None:
    path.mkdir()
    path.chmod(0o1777)


def _somebody_elses(path: Path) -> None:
    path.mkdir(0o700)
    os.chown(path, STRANGER, STRANGER)


def _link(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.mkdir(0o700)
    path.symlink_to(target)


def _dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def _fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    "prepare",
    [_writable, _group_writable, _sticky, _somebody_elses, _link, _dangling, _fifo],
)
def test_a_directory_that_may_be_somebody_elses_is_refused(
    tmp_path: Path, prepare: Callable[[Path], None]
) -> None:
    path = tmp_path / "place"
    prepare(path)
    with pytest.raises(Untrusted) as caught:
        own_directory(path)
    assert str(path) in caught.value.message
    assert caught.value.mend
    assert not is_own_directory(path)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("prepare", [_writable, _group_writable, _somebody_elses])
def test_so_is_one_below_such_a_directory(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    prepare(tmp_path / "above")
    with pytest.raises(Untrusted, match="above"):
        own_directory(tmp_path / "above" / "new" / "place")
    assert not (tmp_path / "above" / "new").exists()


@pytest.mark.usefixtures("as_root")
def test_a_sticky_directory_above_and_links_of_root_are_passed(tmp_path: Path) -> None:
    _sticky(tmp_path / "tmp")
    (tmp_path / "link").symlink_to("tmp")
    own_directory(tmp_path / "link" / "place")
    assert is_own_directory(tmp_path / "tmp" / "place")


@pytest.mark.usefixtures("as_root")
def test_a_link_that_leads_through_a_strangers_directory_is_not(tmp_path: Path) -> None:
    _somebody_elses(tmp_path / "theirs")
    (tmp_path / "theirs" / "hop").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to("theirs/hop")
    with pytest.raises(Untrusted, match="theirs"):
        own_directory(tmp_path / "link" / "place")


def test_links_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(Untrusted, match="too many"):
        open_file(tmp_path / "one" / "file", os.O_RDONLY)


def test_a_file_in_its_place_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "place").touch(0o600)
    with pytest.raises(NotADirectoryError):
        own_directory(tmp_path / "place")


def test_a_file_is_made_and_opened_again(tmp_path: Path) -> None:
    os.close(open_file(tmp_path / "file", os.O_RDWR | os.O_CREAT))
    descriptor = open_file(tmp_path / "file", os.O_RDWR)
    assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o600
    assert os.get_blocking(descriptor)
    os.close(descriptor)


def _hard_link(path: Path) -> None:
    path.with_name("other").touch(0o600)
    os.link(path.with_name("other"), path)


def _world_writable(path: Path) -> None:
    path.touch()
    path.chmod(0o666)


def _strangers_file(path: Path) -> None:
    path.touch(0o600)
    os.chown(path, STRANGER, STRANGER)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("prepare", [_hard_link, _world_writable, _strangers_file, _fifo])
def test_a_file_that_may_be_somebody_elses_is_refused(
    tmp_path: Path, prepare: Callable[[Path], None]
) -> None:
    prepare(tmp_path / "file")
    with pytest.raises(Untrusted):
        open_file(tmp_path / "file", os.O_RDWR | os.O_CREAT)


def test_a_link_and_a_socket_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "target").touch(0o600)
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(Untrusted, match="symbolic link"):
        open_file(tmp_path / "link", os.O_RDWR)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    assert "a socket" in fault_of((tmp_path / "socket").stat())
