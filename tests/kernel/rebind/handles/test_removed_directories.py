"""Directories that were removed under those who stand in them, or have them open."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.rebind import Rebind
from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")

STANDS = """
import os, sys
os.chdir(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    try:
        here = os.stat(".")
        print(here.st_ino, here.st_nlink, oct(here.st_mode), here.st_uid, os.stat("..").st_ino,
              flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


def stand(start: Hold, where: Path, *within: str) -> Program:
    """A program that stands there, and tells where that is."""
    return start(*within, sys.executable, "-c", STANDS, where)


def seen(program: Program) -> tuple[int, int, str, int, int]:
    """Inode, links, mode and owner of where it stands, and the inode above."""
    inode, links, mode, owner, above = program.ask().split()
    return int(inode), int(links), mode, int(owner), int(above)


def identical(lines: list[ReboundHandle]) -> bool:
    """Whether nothing was lost."""
    return {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}


def left_in(path: Path) -> list[Path]:
    """Names of ours."""
    return [each for each in path.rglob("*") if each.name.startswith(".holdfast")]


@pytest.mark.parametrize("filesystem", ["xfs", "btrfs", "ext4"])
def test_a_tree_that_several_stand_in(bench: Bench, start: Hold, filesystem: str) -> None:
    """One in the other, each in the place where it was; also where that has another name now."""
    top, inner = bench.path / "kept/top", bench.path / "kept/top/a/b"
    inner.mkdir(parents=True)
    inner.chmod(0o2751)
    programs = [stand(start, each) for each in (top, inner, inner)]
    for each in (inner, inner.parent, top):
        each.rmdir()
    (bench.path / "kept").rename(bench.path / "renamed")
    times = (bench.path / "renamed").stat().st_mtime_ns
    rebind = bench.rebind()
    rebind.stop()
    rebind.park()
    with bench.copied(filesystem, rebind) as bases:
        lines = rebind.rebind(bases)
    rebind.release()
    assert identical(lines)
    assert not [line.note for line in lines if line.note]
    upper, lower, same = map(seen, programs)
    assert lower == same
    assert lower[1:4] == (0, oct(stat.S_IFDIR | 0o2751), 0)
    assert upper[4] == (bench.path / "renamed").stat().st_ino
    assert lower[4] not in (upper[0], upper[4])  # `a`, which nobody stands in
    assert Path(f"/proc/{programs[1].pid}/cwd/../..").stat().st_ino == upper[0]
    assert str(Path(f"/proc/{programs[0].pid}/cwd").readlink()).endswith(" (deleted)")
    assert not left_in(bench.path)
    assert (bench.path / "renamed").stat().st_mtime_ns == times


def test_again_and_again(bench: Bench, hold: Hold) -> None:
    program = hold("removed", "removed_cwd", "threads")
    for filesystem in ("xfs", "btrfs", "ext4"):
        assert identical(bench.move(filesystem))
        program.verify()
        assert not left_in(bench.path)


def test_where_it_was_is_gone(bench: Bench, start: Hold) -> None:
    """Other contents: it is made in memory, and nothing is above it."""
    (bench.path / "kept/gone").mkdir(parents=True)
    program = stand(start, bench.path / "kept/gone")
    (bench.path / "kept/gone").rmdir()
    (line,) = bench.move("xfs", lambda folder: (folder / "kept").rmdir())
    assert line.outcome is HandleOutcome.IDENTICAL
    assert line.note.startswith("it is in memory, not on the volume")
    _, links, mode, owner, above = seen(program)
    assert (links, mode, owner) == (0, oct(stat.S_IFDIR | 0o755), 0)
    assert Path(f"/proc/{program.pid}/cwd/../../..").stat().st_ino == above
    assert Path(f"/proc/{program.pid}/cwd/..").stat().st_dev != bench.path.stat().st_dev


def test_the_same_file_system_again(bench: Bench, start: Hold) -> None:
    """As after `detach --park`, or when a move was undone after the dismount."""
    inner = bench.path / "kept/gone/inner"
    inner.mkdir(parents=True)
    programs = [stand(start, each) for each in (inner, inner.parent)]
    inner.rmdir()
    inner.parent.rmdir()
    before = [seen(each) for each in programs]
    (bench.path / "kept").rename(bench.path / "renamed")
    rebind = bench.rebind()
    rebind.stop()
    rebind.park()
    with bench.exchanged(bench.image) as bases:
        lines = rebind.rebind(bases, same_data=True, same_inodes=True)
    rebind.release()
    assert identical(lines)
    lower, upper = map(seen, programs)
    assert [each[1:4] for each in (lower, upper)] == [each[1:4] for each in before]
    assert lower[4] == upper[0]
    assert upper[4] == before[1][4] == (bench.path / "renamed").stat().st_ino
    assert not left_in(bench.path)


def test_storage_that_is_not_asked(bench: Bench, start: Hold) -> None:
    """The kernel remembers enough of what was there."""
    (bench.path / "kept/gone").mkdir(parents=True)
    (bench.path / "kept/gone").chmod(0o710)
    program = stand(start, bench.path / "kept/gone")
    (bench.path / "kept/gone").rmdir()
    rebind = bench.rebind(storage_answers=False)
    rebind.stop()
    rebind.park()
    with bench.prepared("xfs") as image:
        pass
    with bench.exchanged(image) as bases:
        (line,) = rebind.rebind(bases)
    rebind.release()
    assert (line.outcome, line.note) == (HandleOutcome.IDENTICAL, "")
    assert seen(program)[1:4] == (0, oct(stat.S_IFDIR | 0o710), 0)
    assert seen(program)[4] == (bench.path / "kept").stat().st_ino


def test_no_way_out_of_a_root(bench: Bench, start: Hold) -> None:
    """What a jail has open never leads out of it, wherever the directory was made again."""
    (bench.path / "jail/gone").mkdir(parents=True)
    code = STANDS.replace(
        "import os, sys", f"import os, sys; os.chroot({str(bench.path)!r} + '/jail')"
    )
    program = start(sys.executable, "-c", code, "/gone")
    (bench.path / "jail/gone").rmdir()
    for change in (lambda folder: None, lambda folder: (folder / "jail/x").mkdir()):
        assert identical(bench.move("ext4", change))
        assert seen(program)[4] == (bench.path / "jail").stat().st_ino


@pytest.mark.parametrize("mode", [0o700, 0o000, 0o1777])
def test_one_without_rights(bench: Bench, start: Hold, mode: int) -> None:
    """It stands in a directory of somebody else's that it could not enter now."""
    gone = bench.path / "gone"
    gone.mkdir()
    program = stand(start, gone, *AS_NOBODY)
    gone.chmod(mode)
    os.chown(gone, 1234, 1234)
    gone.rmdir()
    assert identical(bench.move("xfs"))
    status = Path(f"/proc/{program.pid}/cwd").stat()
    assert (status.st_nlink, status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 1234, mode)
    assert not left_in(bench.path)
    assert identical(bench.move("ext4"))


def test_through_two_mounts(bench: Bench, start: Hold, ram_directory: Path) -> None:
    """Another mount namespace, and another mount in it: one directory all the same."""
    gone, other = bench.path / "gone", ram_directory / "other"
    gone.mkdir()
    other.mkdir()
    script = 'mount --bind "$0" "$1"; cd "$1/gone"; shift; exec "$@"'
    one = stand(start, gone)
    within = ("unshare", "--mount", "sh", "-c", script, str(bench.path), str(other))
    two = stand(start, Path(), *within)
    gone.rmdir()
    assert seen(one) == seen(two)
    assert identical(bench.move("xfs"))
    assert seen(one) == seen(two)
    assert seen(one)[4] == bench.path.stat().st_ino
    places = [Path(f"/proc/{each.pid}/cwd").stat() for each in (one, two)]
    assert os.path.samestat(*places)


def test_what_others_may_write_to(bench: Bench, start: Hold) -> None:
    """Somebody changes every name of ours as soon as he sees it: at most the place is lost."""
    folder = bench.path / "everybodys"
    (folder / "gone").mkdir(parents=True)
    folder.chmod(0o777)
    program = stand(start, folder / "gone")
    (folder / "gone").rmdir()
    rebind = bench.rebind()
    rebind.stop()
    rebind.park()
    with bench.prepared("ext4") as image:
        pass
    try:
        with bench.exchanged(image) as bases, changing_names(folder):
            (line,) = rebind.rebind(bases)
    finally:
        rebind.release()
    assert line.outcome is HandleOutcome.IDENTICAL
    assert seen(program)[1:4] == (0, oct(stat.S_IFDIR | 0o755), 0)
    for each in folder.iterdir():  # what he has is closed, and nobody's but root's
        assert each.stat().st_uid in (0, NOBODY)
        assert stat.S_IMODE(each.stat().st_mode) == 0o700


@contextmanager
def changing_names(folder: Path) -> Iterator[None]:
    over = threading.Event()

    def change() -> None:
        number = 0
        while not over.wait(0):
            with suppress(OSError):
                for name in folder.glob(".holdfast*"):
                    number += 1
                    name.rename(folder / f"mine-{number}")
                    name.mkdir(0o700)
                    os.chown(name, NOBODY, NOBODY)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


CALLS = frozenset({"open", "os.mkdir", "os.rmdir", "os.remove", "os.symlink", "os.chown",
                   "os.chmod", "os.utime", "os.listdir", "os.removexattr"})  # fmt: skip


def acts_at(bench: Bench, number: int, act: Callable[[int], object]) -> bool:
    """An agent rebinds to the same mount; somebody acts before that call of its child's.

    False: the child has made fewer calls. `act` gets the number of the agent.
    """
    agent = os.fork()
    if agent == 0:
        try:
            me, count = os.getpid(), [0]

            def count_up(event: str, _: object) -> None:
                if event in CALLS and os.getpid() != me:
                    count[0] += 1
                    if count[0] == number:
                        act(me)
                        (bench.folder / "acted").touch()

            rebind = bench.rebind()
            rebind.stop()
            rebind.park()
            sys.addaudithook(count_up)
            bench.move_here(rebind)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(agent, 0)
    assert status in (0, signal.SIGKILL)
    has_acted = (bench.folder / "acted").exists()
    (bench.folder / "acted").unlink(missing_ok=True)
    return has_acted or status != 0


def dies_at(bench: Bench, number: int) -> bool:
    """The agent dies at that call, with its child."""

    def die(agent: int) -> None:
        os.kill(agent, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    return acts_at(bench, number, die)


def finish(bench: Bench) -> None:
    rebind = Rebind.regain(bench.record)
    assert rebind is not None
    bench.move_here(rebind)


def test_killed_at_every_call(
    bench: Bench, hold: Hold, soak_rounds: Callable[[int, int], int]
) -> None:
    """Nothing of ours stays, and everything is finished by the next one. (At every seventh call,
    in the short form.)"""
    program = hold("removed", "removed_cwd")
    number = 1
    while dies_at(bench, number):
        finish(bench)
        assert not left_in(bench.path)
        assert not bench.record.exists()
        program.verify()
        number += soak_rounds(7, 1)
    program.verify()
    print(f"removed directories: agents have died up to call {number}")
    assert number > 70


def test_killed_and_the_process_as_well(bench: Bench, hold: Hold) -> None:
    """Nobody is left who needs it: the names go all the same."""
    program = hold("removed")
    number = 1
    while not left_in(bench.path):
        if number > 1:
            finish(bench)
        assert dies_at(bench, number)
        number += 1
    program.close()
    finish(bench)
    assert not left_in(bench.path)
    assert not bench.record.exists()


@pytest.mark.parametrize("what", ["private", "control"])
@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_roots_is_put_in_its_place(
    bench: Bench, start: Hold, soak_rounds: Callable[[int, int], int], kind: str, what: str
) -> None:
    """Whoever can change names lets us neither remove nor give him what is closed to him.

    At whatever call of ours he does it. (At every fifth one, in the short form.)
    """
    folder = bench.path / "everybodys" if kind == "directory" else bench.path
    gone, private, control = folder / "gone", folder / "private", folder / "control"
    (private / "inner").mkdir(parents=True)
    (private / "secret").write_text("secret")
    private.chmod(0o700)
    folder.chmod(0o777)
    os.mkfifo(control, 0o600)

    def exchange(_: int) -> None:
        for name in folder.glob(".holdfast*"):
            name.rename(folder / "mine")
            (folder / what).rename(name)

    number, exchanged = 1, 0
    while True:
        with standing_in(start, gone, kind):
            has_acted = acts_at(bench, number, exchange)
        exchanged += (folder / "mine").exists()
        for mine in folder.glob("mine*"):
            shutil.rmtree(mine)
        for name in folder.glob(".holdfast*"):
            name.rename(folder / what)
        assert (private / "secret").read_text() == "secret"
        assert (private / "inner").is_dir()
        for each, mode in ((control, 0o600), (private, 0o700)):
            assert (each.stat().st_uid, stat.S_IMODE(each.stat().st_mode)) == (0, mode)
        if not has_acted:
            break
        number += soak_rounds(5, 1)
    assert exchanged


@contextmanager
def standing_in(start: Hold, gone: Path, kind: str) -> Iterator[None]:
    """A program that has what is gone."""
    if kind == "directory":
        gone.mkdir(mode=0o777)
        program = start("sh", "-c", 'cd "$0"; rmdir "$0"; echo ready; read x', gone)
    else:
        os.mkfifo(gone, 0o666)
        code = (
            f"import os, sys; held = os.open({str(gone)!r}, os.O_PATH); os.unlink({str(gone)!r});"
            "print('ready', flush=True); sys.stdin.readline()"
        )
        program = start(sys.executable, "-c", code)
    try:
        yield
    finally:
        program.close()
