"""Who begins to use a volume after everybody was looked for is stopped with the others in another
turn; whatever is killed meanwhile, everybody goes on with what he had."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.receipt import Receipt
from holdfast.model.reporter import Reporter
from holdfast.restoration.performing.perform import perform
from holdfast.service import AssessRequest, Holdfast
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.processes import ptrace
from tests.forked import in_fork
from tests.kernel.rebind.bench import Program
from tests.kernel.restoration.bench import application, is_settled, make_image, mounted
from tests.soak import rounds

LATE = (
    "echo ready; read x; cd $0 && exec 5>>late && echo came;"
    " while read x; do echo $x >&5 && echo ok; done"
)
"""Begins to use the volume when it is told to."""

DELAYS_SECONDS = [0.001, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5]
"""Into the second turn, which takes some tenths of a second."""


class Scene:
    """A volume, somebody who uses it, and somebody who comes between Freeze and Dismount."""

    def __init__(self, settings: Settings, folder: Path, path: Path, stack: ExitStack) -> None:
        self._settings = settings
        self._folder = folder
        self.path = path
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        self.running = stack.enter_context(application(path, folder / "record"))
        self.late = stack.enter_context(closing(Program(["bash", "-c", LATE, path], cwd="/")))

    def move(self, say: Callable[[str], None] = lambda words: None) -> Receipt:
        """Migrate. He comes when all others stand and are about to be parked."""
        came: list[str] = []

        def checkpoint(place: str) -> None:
            if place == "in dismount" and not came:
                came.append(self.late.ask("come"))

        request = AssessRequest("data", None, (f"file:{self._folder}/2.img",), filesystem="btrfs")
        with Holdfast(self._settings) as holdfast:
            found = holdfast.restorations.assess(request)
            receipt = perform(
                self._settings, holdfast.catalog, found, Reporter(say=say), checkpoint
            )
        assert receipt is not None
        return receipt

    def recover(self) -> list[object]:
        with Holdfast(self._settings) as holdfast:
            return list(holdfast.recover())

    def goes_on(self, filesystem: str) -> None:
        """Both run, with everything they had, on that file system."""
        mount = mount_at(self.path)
        assert mount is not None
        assert mount.filesystem == filesystem
        assert is_settled(self.running.pid)
        self.running.wait_for_more()
        assert self.running.verify() > 0
        assert self.late.ask("written") == "ok"
        assert (self.path / "late").read_text() == "written\n"
        assert not list(self.path.glob(".holdfast*"))


@pytest.fixture
def scene(settings: Settings, ram_directory: Path) -> Iterator[Scene]:
    image = make_image(ram_directory / "1.img", size_bytes=128 << 20)
    with mounted(image, ram_directory / "mnt") as path, ExitStack() as stack:
        yield Scene(settings, ram_directory, path, stack)


def test_who_came_is_moved_with_the_others(scene: Scene) -> None:
    receipt = scene.move()
    assert receipt.outcome == "done"
    outcomes = {
        each["pid"]: {name for kind in each["handles"].values() for name in kind}
        for each in receipt.processes
    }
    assert outcomes == {pid: {"identical"} for pid in (scene.running.pid, scene.late.pid)}
    (dismounted,) = [each.outcome for each in receipt.steps if each.name == "dismount"]
    assert f"once more, because of bash (process {scene.late.pid})" in dismounted
    scene.goes_on("btrfs")


def test_who_came_and_cannot_be_moved_is_named(scene: Scene) -> None:
    ptrace.seize(scene.late.pid, suspend_seccomp=False)
    ended = in_fork(scene.move)
    assert ended.code == 1
    assert f"process {scene.late.pid}: " in ended.told
    assert f"process {os.getpid()} (" in ended.told, "who traces it is not named"
    ptrace.interrupt(scene.late.pid)
    ptrace.wait_for_stop(scene.late.pid, float("inf"))
    ptrace.detach(scene.late.pid)
    assert scene.recover() == []
    scene.goes_on("ext4")


@pytest.mark.parametrize("delay_seconds", DELAYS_SECONDS[:: rounds(3, 1)])
def test_killed_in_the_second_turn(scene: Scene, delay_seconds: float) -> None:
    def dies_soon(words: str) -> None:
        if words.startswith("once more"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, delay_seconds)

    ended = in_fork(lambda: scene.move(dies_soon))
    assert ended.code in (0, -signal.SIGALRM), ended
    done = scene.recover()
    finished = ended.code == 0 or str(done[0]).endswith("finished")
    scene.goes_on("btrfs" if finished else "ext4")
    assert scene.recover() == []
