"""Memory maps and the running program are found."""

from __future__ import annotations

import mmap
import shutil
import subprocess
from pathlib import Path

from holdfast.model.handle import HandleKind
from tests.kernel.users.programs import handles_of, only, point, users_at

__all__ = ["point"]


OPENED = """
f = os.open(point + '/f', os.O_CREAT | os.O_RDWR)
os.ftruncate(f, 3 * mmap.PAGESIZE)
"""


def test_a_shared_map(point: Path) -> None:
    source = OPENED + "m = mmap.mmap(f, mmap.PAGESIZE, offset=mmap.PAGESIZE); os.close(f)"
    # Python's map keeps a descriptor of its own.
    handles = handles_of(source, point)
    handle = only(tuple(each for each in handles if each.kind is HandleKind.MAP))
    assert handle.mode == "rw-s"
    assert handle.offset == mmap.PAGESIZE
    assert handle.end - handle.start == mmap.PAGESIZE
    assert (handle.path, handle.inside, handle.deleted) == (f"{point}/f", "f", False)


def test_a_private_map_without_any_descriptor(point: Path) -> None:
    source = (
        OPENED
        + "libc.mmap.restype = ctypes.c_void_p\n"
        + "libc.mmap(None, mmap.PAGESIZE, 1, mmap.MAP_PRIVATE, f, ctypes.c_long(0)); os.close(f)"
    )
    handle = only(handles_of(source, point))
    assert (handle.kind, handle.mode) == (HandleKind.MAP, "r--p")


def test_a_map_of_a_deleted_file(point: Path) -> None:
    source = OPENED + "m = mmap.mmap(f, mmap.PAGESIZE); os.unlink(point + '/f')"
    for handle in handles_of(source, point):
        assert (handle.path, handle.inside, handle.deleted) == (f"{point}/f", "f", True)


def test_the_running_program(point: Path) -> None:
    shutil.copy("/bin/sleep", point / "sleep")
    with subprocess.Popen([point / "sleep", "60"]) as process:
        try:
            while Path(f"/proc/{process.pid}/exe").readlink() != point / "sleep":
                pass
            user = users_at(point)[process.pid]
        finally:
            process.kill()
    assert {handle.kind for handle in user.handles} == {HandleKind.EXECUTABLE, HandleKind.MAP}
    assert {handle.inside for handle in user.handles} == {"sleep"}
    assert user.command == f"{point}/sleep 60"
    assert user.name == "sleep"
