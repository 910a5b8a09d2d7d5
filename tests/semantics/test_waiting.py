"""Claims: the deadline bounds every wait for lost storage; nobody else waits for a held volume."""

from __future__ import annotations

import errno
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import HoldfastError
from holdfast.gate.outside.client import GateClient
from holdfast.volumes.stack.examine import examine_stack
from tests.faults import copy_image, replace_by_copy, stopped, truncate_to_zero
from tests.kernel.volume.stack import volume, wish
from tests.leftovers import process_state
from tests.semantics.writing import prepare, write
from tests.waiting import wait_until

DEADLINE_SECONDS = 2.0
SLACK_SECONDS = 3.0
"""For a machine that has other work as well."""


def test_processes_in_the_kernel_wait_until_the_deadline(
    settings: Settings, ram_directory: Path
) -> None:
    """fdatasync and sync(1) of the file system hang in D state, get EIO then, and end."""
    wanted = replace(wish(ram_directory), hold_timeout_seconds=DEADLINE_SECONDS)
    with volume(settings, wanted) as made:
        file = Path(made.mount.path) / "file"
        prepare(file, 1)
        truncate_to_zero(ram_directory / "shop-1.img")
        begun = time.monotonic()
        writer = write(file, 0, 1, sync=True)
        wait_until(lambda: GateClient(settings.gate_run_directory(made.name)).show()["held"])
        syncing = subprocess.Popen(["sync", "--file-system", made.mount.path])
        assert process_state(writer.pid) == "D"
        assert writer.wait(DEADLINE_SECONDS + SLACK_SECONDS) == errno.EIO
        assert syncing.wait(SLACK_SECONDS) is not None
        assert time.monotonic() - begun >= DEADLINE_SECONDS
        try:
            gate = GateClient(settings.gate_run_directory(made.name))
            assert gate.show()["errors_returned"] > 0
        except HoldfastError as error:
            raise AssertionError("the gate must outlive the deadline") from error


def test_whoever_looks_at_all_loop_devices_does_not_wait(
    settings: Settings, ram_directory: Path
) -> None:
    with volume(settings, wish(ram_directory)) as made:
        file = Path(made.mount.path) / "file"
        prepare(file, 1)
        image = ram_directory / "image"
        with image.open("wb") as other:
            other.truncate(32 << 20)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        device = examine_stack(settings, made.name).device
        assert device is not None
        leg, kept = ram_directory / "shop-1.img", ram_directory / "kept.img"
        with stopped([GateClient(settings.gate_run_directory(made.name)).show()["worker_pid"]]):
            copy_image(leg, kept)
            truncate_to_zero(leg)
        writer = write(file, 0, 1, sync=True)
        gate = GateClient(settings.gate_run_directory(made.name))
        wait_until(lambda: gate.show()["held"])
        try:
            for command in (["losetup", "--list", device], ["e2fsck", "-f", "-n", str(image)]):
                subprocess.run(command, check=True, capture_output=True, timeout=SLACK_SECONDS)
            assert gate.show()["held"]
        finally:
            replace_by_copy(leg, kept)
            assert writer.wait(20) == 0
