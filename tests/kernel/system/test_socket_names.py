"""A socket takes the name of a dead one in a directory of strangers, and nothing else of theirs."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.inode_identity import identity_of
from holdfast.system.files.socket_names import (
    SocketFile,
    bind_hidden,
    put_in_place,
    remove_hidden,
)

HIDDEN = ".holdfast-0123456789abcdef"
LIKE = SocketFile(0o140640, 65534, 65534)
NAMES = ("/srv/data/s", "s", "./.././x/../y/s", "//a/./b/../../s", "../../s", "a/../b/c/s")


@pytest.fixture
def folder(ram_directory: Path) -> Iterator[tuple[int, Path]]:
    path = ram_directory / "folder"
    path.mkdir()
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY)
    yield descriptor, path
    os.close(descriptor)


def bound(folder: int, name: str, replaces: tuple[str, int] | None = None) -> socket.socket:
    end = socket.socket(socket.AF_UNIX)
    work = partial(bind_hidden, folder, HIDDEN, os.fsencode(name), end, LIKE, replaces)
    identity = in_expendable_child(work)
    assert isinstance(identity, str)
    end.listen()
    return end


def names_in(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


def dead(path: Path) -> int:
    os.mknod(path, 0o140600)
    return path.stat().st_ino


def is_reached(path: Path, end: socket.socket) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        end.accept()[0].close()
    return True


@pytest.mark.parametrize("name", NAMES)
def test_whatever_the_name_is(folder: tuple[int, Path], name: str) -> None:
    descriptor, path = folder
    inode = dead(path / "s")
    os.chown(path / "s", 7, 8)
    with bound(descriptor, name, ("s", inode)) as end:
        assert put_in_place(descriptor, HIDDEN, os.fsencode(name), "s", inode)
        assert names_in(path) == ["s"]
        assert end.getsockname() == name
        assert is_reached(path / "s", end)
        status = (path / "s").stat()
        assert (status.st_mode, status.st_uid, status.st_gid) == (0o140600, 7, 8)


def test_a_name_that_nobody_has(folder: tuple[int, Path]) -> None:
    descriptor, path = folder
    with bound(descriptor, "/s") as end:
        assert put_in_place(descriptor, HIDDEN, b"/s", "s", None)
        assert is_reached(path / "s", end)
        status = (path / "s").stat()
        assert (status.st_mode, status.st_uid) == (LIKE.mode, LIKE.user_id)
    assert names_in(path) == ["s"]


def test_no_name(folder: tuple[int, Path]) -> None:
    descriptor, path = folder
    with bound(descriptor, "/s"):
        assert put_in_place(descriptor, HIDDEN, b"/s", "", None)
    assert names_in(path) == []


@pytest.mark.parametrize("what", ["file", "socket", "directory", "link"])
@pytest.mark.parametrize("was", [True, False], ids=["exchanged", "taken"])
def test_somebody_else_has_it_now(folder: tuple[int, Path], what: str, was: bool) -> None:
    descriptor, path = folder
    inode = dead(path / "s") if was else 0
    with bound(descriptor, "/s", ("s", inode) if was else None):
        if was:
            (path / "s").rename(path / "gone")
        {
            "file": lambda: (path / "s").write_text("mine"),
            "socket": lambda: dead(path / "s"),
            "directory": lambda: (path / "s" / "inner").mkdir(parents=True),
            "link": lambda: (path / "s").symlink_to("/etc"),
        }[what]()
        before = identity(path / "s")
        assert not put_in_place(descriptor, HIDDEN, b"/s", "s", inode if was else None)
    assert identity(path / "s") == before
    assert names_in(path) == (["gone", "s"] if was else ["s"])
    if what == "directory":
        assert names_in(path / "s") == ["inner"]


def identity(path: Path) -> str:
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        return identity_of(place)
    finally:
        os.close(place)


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_a_directory_of_somebody_else_is_not_entered(folder: tuple[int, Path], mode: int) -> None:
    """He put it where ours was to be, or is."""
    descriptor, path = folder
    (path / HIDDEN).mkdir(mode=mode)
    (path / HIDDEN / "s").write_text("mine")
    if mode == 0o700:
        os.chown(path / HIDDEN, 65534, 65534)
    with pytest.raises(FileExistsError):
        bound(descriptor, "/s")
    with pytest.raises(PermissionError):
        remove_hidden(descriptor, HIDDEN)
    assert (path / HIDDEN / "s").read_text() == "mine"


@pytest.mark.parametrize("replaced", [True, False], ids=["exchanged", "taken"])
def test_what_root_keeps_beside_it_stays_there(folder: tuple[int, Path], replaced: bool) -> None:
    """Who may write to the directory can give our name to anything in it: a file that root has
    closed in must not come out to him, and no socket in there be removed."""
    descriptor, path = folder
    inode = dead(path / "s") if replaced else None
    (path / "vault" / "d").mkdir(mode=0o700, parents=True)
    (path / "vault").chmod(0o700)
    (path / "vault" / "d" / "s").write_text("root's")
    dead(path / "vault" / "other")
    with bound(descriptor, "d/s", None if inode is None else ("s", inode)):
        (path / HIDDEN).rename(path / "ours")
        (path / "vault").rename(path / HIDDEN)
        with pytest.raises(FileNotFoundError):
            put_in_place(descriptor, HIDDEN, b"d/s", "s", inode)
        with pytest.raises(OSError, match="not empty"):
            remove_hidden(descriptor, HIDDEN)
    assert (path / HIDDEN / "d" / "s").read_text() == "root's"
    assert (path / HIDDEN / "other").is_socket()
    assert (path / "s").exists() == replaced


def test_what_was_left_is_removed(folder: tuple[int, Path]) -> None:
    descriptor, path = folder
    bound(descriptor, "a/../b/c/s").close()
    remove_hidden(descriptor, HIDDEN)
    assert names_in(path) == []
    remove_hidden(descriptor, HIDDEN)
