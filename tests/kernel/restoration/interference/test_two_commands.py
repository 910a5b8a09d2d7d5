"""Two commands at once on one volume: the second must not take the first one's leavings for it."""

from __future__ import annotations

import os
import traceback
from contextlib import suppress
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import AtWork
from holdfast.service import Holdfast, MigrateRequest
from tests.kernel.restoration.bench import application, make_image, mounted


def test_two_migrations_follow_one_another(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            children = [begin(settings, f"file:{ram_directory}/{number}.img") for number in (2, 3)]
            for child in children:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            running.wait_for_more()
            assert running.verify() > 0
        with Holdfast(settings) as holdfast:
            assert len(holdfast.restorations.copies("data")) == 2


def begin(settings: Settings, url: str) -> int:
    """A process that migrates, once the other one has ended: on a busy host that may take longer
    than a command waits for its turn."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with Holdfast(settings) as holdfast:
                while status:
                    with suppress(AtWork):
                        request = MigrateRequest("data", (url,), filesystem="ext4")
                        holdfast.restorations.migrate(request)
                        status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child
