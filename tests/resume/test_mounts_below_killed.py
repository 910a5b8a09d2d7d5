"""The runner is killed at a call by which mounts are moved: what is mounted below the volume is in
its place when the next command has finished or undone it, and its users notice nothing."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.config import Settings
from holdfast.service import Holdfast, MigrateRequest
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_table import mount_at, mounts
from holdfast.system.mounts.visitor import Visitor
from tests.forked import in_fork
from tests.kernel.conftest import settings, soak_rounds  # noqa: F401 - fixtures
from tests.kernel.restoration.below import mount_of, mounted_below, nothing_parked, using
from tests.kernel.restoration.bench import make_image, mounted

CALLS = {
    mount_api: ("attach_tree", "attach_beneath", "set_propagation", "join_group"),
    Visitor: ("dismount", "dismount_exactly"),
}
MOST_CALLS = 200


def migrate(home: Settings, url: str, fatal: int) -> bool:
    """Migrate in a process that is killed, with its child, before its call of this number; False:
    there were fewer."""
    with mmap.mmap(-1, 8) as made:

        def counted(call: Callable[..., Any], runner: int) -> Callable[..., Any]:
            def instead(*words: Any, **more: Any) -> Any:
                number = int.from_bytes(made[:], "little")
                if number == fatal:
                    os.kill(runner, signal.SIGKILL)
                    os.kill(os.getpid(), signal.SIGKILL)
                made[:] = (number + 1).to_bytes(8, "little")
                return call(*words, **more)

            return instead

        def run() -> None:
            for owner, names in CALLS.items():
                for name in names:
                    setattr(owner, name, counted(getattr(owner, name), os.getpid()))
            with Holdfast(home) as holdfast:
                holdfast.restorations.migrate(MigrateRequest("data", (url,)))

        in_fork(run)
        return int.from_bytes(made[:], "little") == fatal


def test_killed_at_a_call(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
    soak_rounds: Callable[[int, int], int],  # noqa: F811
) -> None:
    subprocess.run(["mount", "--bind", str(ram_directory), str(ram_directory)], check=True)
    subprocess.run(["mount", "--make-shared", str(ram_directory)], check=True)
    try:
        image = make_image(ram_directory / "0.img", size_bytes=32 << 20)
        with mounted(image, ram_directory / "mnt") as path:
            with Holdfast(settings) as holdfast:
                holdfast.adopt_volume("data", str(path))
            with mounted_below(path / "inner") as inner:
                before = mount_of("inner"), relation(path)
                with using(inner, ram_directory / "record"):
                    for fatal in range(soak_rounds(7, 0), MOST_CALLS, soak_rounds(7, 1)):
                        new = ram_directory / f"{fatal + 1}.img"
                        killed = migrate(settings, f"file:{new}", fatal)
                        with Holdfast(settings) as holdfast:
                            holdfast.recover()
                            assert holdfast.restorations.in_progress("data") is None
                        assert (mount_of("inner"), relation(path)) == before, fatal
                        assert nothing_parked(settings.run_directory), fatal
                        if not killed:
                            break
                    assert not killed, "there are more calls than were tried"
            while mount_at(path) is not None:  # and the covers that killed ones have left below
                subprocess.run(["umount", "--lazy", str(path)], check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(ram_directory)], check=True)


AFTER_PARKING = 12


def test_given_up_it_is_named_with_the_command_that_puts_it_back(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
) -> None:
    image = make_image(ram_directory / "0.img", size_bytes=32 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        with mounted_below(path / "inner") as inner:
            (inner / "file").touch()
            before = mount_of("inner")
            assert migrate(settings, f"file:{ram_directory}/1.img", AFTER_PARKING)
            with Holdfast(settings) as holdfast:
                words = holdfast.restorations.abandon("data")
                (said,) = (each for each in words if " is parked: " in each)
                holdfast.attach_volume("data")
            subprocess.run(said.partition(" is parked: ")[2], shell=True, check=True)
            assert mount_of("inner") == before
            assert (inner / "file").exists()
            left = [each for each in words if "/parked-mounts/" in each and each != said]
            assert len(left) == 2, "the volume's old mount, and the parking place"
            for each in left:
                subprocess.run(each.rpartition(": ")[2], shell=True, check=True)
            assert not [each for each in mounts() if each.source.startswith("holdfast-parked")]


def relation(path: Path) -> tuple[str, list[str]]:
    """What is in sight at the place of the volume, and how it propagates. A cover of ours that was
    below it already when we were killed is there until it is dismounted."""
    top = mount_at(path)
    assert top is not None
    return top.filesystem, [tag.partition(":")[0] for tag in top.tags]
