"""An adopted volume with an application on it, a copy of it, and a way to lose its storage."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast.config import Settings
from holdfast.model.policy import OnLoss
from holdfast.service import Holdfast
from holdfast.system.mounts.mount_table import mount_at
from tests.faults import shut_down
from tests.kernel.restoration.bench import Application, application, make_image, mounted
from tests.waiting import wait_until

COPY_SECONDS = 3600.0
"""Age of the copy."""


@dataclass
class Losing:
    """The volume `data`, as it is used."""

    folder: Path
    path: Path
    running: Application

    @property
    def copy(self) -> str:
        return f"file:{self.folder}/copy.img"

    def lose(self, *, read_only: bool = False) -> None:
        """Everything fails, as without its disk; or only writing, as after an error on it."""
        if read_only:
            mount = mount_at(self.path)
            assert mount is not None
            trigger = Path(f"/sys/fs/ext4/{Path(mount.source).name}/trigger_fs_error")
            trigger.write_text("by a test")
        else:
            shut_down(self.path)
        wait_until(lambda: self.running.progress()[1] > 0)

    def goes_on(self) -> None:
        """Errors have ended."""
        errors = self.running.progress()[1]
        self.running.wait_for_more()
        assert self.running.progress()[1] <= errors + 1
        assert self.running.process.poll() is None


@contextmanager
def losing(settings: Settings, folder: Path) -> Iterator[Losing]:
    image = make_image(folder / "1.img", size_bytes=64 << 20)
    with mounted(image, folder / "mnt", "errors=remount-ro") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        with application(path, folder / "record", simple=True) as running:
            copy_of(path, image, folder / "copy.img")
            yield Losing(folder, path, running)


def copy_of(path: Path, image: Path, copy: Path) -> None:
    """As a good backup is made: at one moment; some time ago."""
    subprocess.run(["fsfreeze", "--freeze", path], check=True)
    try:
        subprocess.run(["cp", "--sparse=always", image, copy], check=True)
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", path], check=True)
    then = time.time() - COPY_SECONDS
    os.utime(copy, (then, then))


def arm(settings: Settings, source: str, **changes: object) -> None:
    with Holdfast(settings) as holdfast:
        holdfast.policies.set(
            "data", on_loss=OnLoss.RESTORE, source=source, after_seconds=0.0, **changes
        )
