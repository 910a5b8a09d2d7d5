"""A thread with descriptors or directories of its own is found as such."""

from __future__ import annotations

from pathlib import Path

from holdfast.model.handle import HandleKind
from tests.kernel.users.programs import only, point, program, users_at

__all__ = ["point"]


THREAD = """
def apart():
    libc.unshare({flag})
    {act}
    begun.set()
    threading.Event().wait()
begun = threading.Event()
threading.Thread(target=apart, daemon=True).start()
begun.wait()
"""
CLONE_FS, CLONE_FILES = 0x200, 0x400


def test_a_thread_with_its_own_descriptors(point: Path) -> None:
    source = THREAD.format(flag=CLONE_FILES, act="f = os.open(point + '/f', os.O_CREAT)")
    with program(source, point) as process:
        user = users_at(point)[process.pid]
    handle = only(user.handles)
    assert handle.kind is HandleKind.FILE
    assert handle.thread_id == user.threads[1]


def test_a_thread_with_its_own_working_directory(point: Path) -> None:
    with program(THREAD.format(flag=CLONE_FS, act="os.chdir(point)"), point) as process:
        user = users_at(point)[process.pid]
    handle = only(user.handles)
    assert handle.kind is HandleKind.WORKING_DIRECTORY
    assert handle.thread_id == user.threads[1]


def test_what_threads_share_is_listed_once(point: Path) -> None:
    with program(
        THREAD.format(flag=0, act="f = os.open(point + '/f', os.O_CREAT)"), point
    ) as process:
        user = users_at(point)[process.pid]
    assert only(user.handles).thread_id is None
    assert len(user.threads) == 2


def test_a_process_whose_main_thread_has_ended(point: Path) -> None:
    source = """
f = os.open(point + '/f', os.O_CREAT)
def stay():
    while open(f'/proc/self/stat').read().split()[2] != 'Z':
        pass
    print('ready', flush=True)
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=stay).start()
libc.syscall(60, 0)  # exit of this thread alone
"""
    with program(source, point) as process:
        user = users_at(point)[process.pid]
    handle = only(user.handles)
    assert handle.inside == "f"
    assert handle.thread_id == user.threads[1]
