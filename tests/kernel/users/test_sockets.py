"""Bound Unix sockets are found, and connections accepted from them."""

from __future__ import annotations

from pathlib import Path

from holdfast.model.handle import HandleKind
from tests.kernel.users.programs import handles_of, only, point

__all__ = ["point"]


BOUND = "s = socket.socket(socket.AF_UNIX); s.bind({name}); s.listen()\n"


def test_a_listening_socket(point: Path) -> None:
    handle = only(
        handles_of("os.mkdir(point + '/d')\n" + BOUND.format(name="point + '/d/s'"), point)
    )
    assert handle.kind is HandleKind.SOCKET
    assert (handle.path, handle.inside) == (f"{point}/d/s", "d/s")
    assert handle.mode == "listening"
    assert handle.inode == (point / "d/s").stat().st_ino


def test_a_name_relative_to_the_working_directory(point: Path) -> None:
    handles = handles_of("os.chdir(point)\n" + BOUND.format(name="'s'"), point)
    assert [each.inside for each in handles if each.kind is HandleKind.SOCKET] == ["s"]


def test_an_accepted_connection(point: Path) -> None:
    source = BOUND.format(name="point + '/s'") + (
        "c = socket.socket(socket.AF_UNIX); c.connect(point + '/s'); a, _ = s.accept(); s.close()"
    )
    found = {handle.mode: handle for handle in handles_of(source, point)}
    assert found.keys() == {"named", "peer"}
    assert {handle.kind for handle in found.values()} == {HandleKind.CONNECTION}
    assert found["peer"].start == found["named"].inode
    assert found["named"].start == found["peer"].inode


def test_who_is_connected_to_a_datagram_socket(point: Path) -> None:
    source = (
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(point + '/s');"
        "c = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); c.connect(point + '/s')"
    )
    found = {handle.kind: handle for handle in handles_of(source, point)}
    assert found.keys() == {HandleKind.SOCKET, HandleKind.SENDER}
    bound, sender = found[HandleKind.SOCKET], found[HandleKind.SENDER]
    assert (bound.mode, sender.mode) == ("datagram", "peer")
    assert bound.start == sender.start != sender.inode


def test_a_socket_whose_name_is_gone(point: Path) -> None:
    source = BOUND.format(name="point + '/s'") + "os.unlink(point + '/s')"
    handle = only(handles_of(source, point))
    assert (handle.path, handle.inside, handle.deleted) == (f"{point}/s", "", True)


def test_another_network_namespace(point: Path) -> None:
    handle = only(handles_of(BOUND.format(name="point + '/s'"), point, "unshare", "--net"))
    assert (handle.kind, handle.inside) == (HandleKind.SOCKET, "s")
