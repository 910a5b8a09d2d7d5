"""A volume with an application at work, whose storage a test breaks; and the oracle of the matrix.

The oracle: every acknowledged fsync is readable with the right bytes,
through the volume and on each leg that is in sync by itself; these legs are equal; the file-system
check is clean; the application counted no error.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from holdfast.config import Settings
from holdfast.errors import GateGone
from holdfast.gate.members.configuration import load_configuration
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.gate.outside.client import GateClient
from holdfast.gate.outside.launch import gate_is_running
from holdfast.gate.runtime.shared_page import Counters, read_counters
from holdfast.model.volume import JournalMode, LegState, Volume
from holdfast.system.storage.loop import loop_devices
from holdfast.volumes.attach import attach_volume
from holdfast.volumes.create import create_volume
from holdfast.volumes.delete import delete_volume
from holdfast.volumes.detach import detach_volume
from tests.faults import FuseLeg, copy_image, stopped
from tests.faults.mounting import mount_image
from tests.kernel.fault.activities import Activity, prepare
from tests.kernel.fault.cells import FLUSHING, IDLE, Cell
from tests.kernel.volume.stack import SIZE, wish
from tests.waiting import wait_until

HANG_SECONDS = 0.5
"""For tests in which storage hangs; shorter than a busy host may let a leg wait for a processor."""
CALM_SECONDS = 5.0
"""For all others."""
CHECKS = {
    "ext4": ["e2fsck", "-f", "-n"],
    "xfs": ["xfs_repair", "-n"],
    "btrfs": ["btrfs", "check", "--readonly"],
}


class Bench:
    """One volume under test. `folder` is on a RAM disk; leg 1 is the one that a test breaks."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        leg_urls: Sequence[str],
        *,
        filesystem: str = "ext4",
        size_bytes: int = SIZE,
        journal: JournalMode = JournalMode.UNFLUSHED,
        hold_timeout_seconds: float = 30.0,
        hang_timeout_seconds: float = CALM_SECONDS,
        spare_urls: tuple[str, ...] = (),
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.wanted = replace(
            wish(
                folder,
                *leg_urls,
                filesystem=filesystem,
                size_bytes=size_bytes,
                journal=journal,
                spare_urls=spare_urls,
            ),
            hold_timeout_seconds=hold_timeout_seconds,
            hang_timeout_seconds=hang_timeout_seconds,
        )
        self.volume: Volume = self.wanted
        self.activity: Activity | None = None
        self.images: dict[str, Path] = {}
        """Image file of a leg by its URL, where that is another one."""
        self._stack = ExitStack()

    # --- the volume -------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.volume = create_volume(self.settings, self.wanted)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.say_what_is()
            self.kill_everything()  # whatever hangs in the volume is freed
        self._stack.close()
        with suppress(GateGone):
            self.gate.release()
        delete_volume(self.settings, self.volume)

    @property
    def state_directory(self) -> Path:
        """gate.json, journal, spool."""
        return self.settings.gate_state_directory(self.volume.name)

    @property
    def run_directory(self) -> Path:
        """Control socket, counters, device."""
        return self.settings.gate_run_directory(self.volume.name)

    @property
    def mountpoint(self) -> Path:
        """Where the application finds the volume."""
        return Path(self.volume.mount.path)

    @property
    def gate(self) -> GateClient:
        """The gate's control socket."""
        return GateClient(self.run_directory, timeout_seconds=20.0)

    def url(self, number: int) -> str:
        """URL of a leg as it is configured now."""
        return next(leg["url"] for leg in self.gate.show()["legs"] if leg["number"] == number)

    def image(self, url: str) -> Path:
        """The image behind a URL."""
        return self.images.get(url, Path(url.partition(":")[2]))

    def leg_states(self) -> dict[int, str]:
        """State by number."""
        return {leg["number"]: leg["state"] for leg in self.gate.show()["legs"]}

    def reason(self, number: int) -> str:
        """Why a leg is not in sync."""
        return str(
            next(leg["reason"] for leg in self.gate.show()["legs"] if leg["number"] == number)
        )

    def wait_for_leg(self, number: int, *states: str) -> None:
        """Until the leg is in one of these states (default: failed)."""
        wanted = states or ("failed",)
        wait_until(lambda: self.leg_states().get(number) in wanted)

    def wait_until_healthy(self, legs: int | None = None) -> None:
        """Until every leg is in sync (and there are so many), and nothing is held."""

        def healthy() -> bool:
            shown = self.gate.show()
            enough = legs is None or len(shown["legs"]) == legs
            in_sync = all(leg["state"] == "in-sync" for leg in shown["legs"])
            return in_sync and enough and not shown["held"]

        wait_until(healthy)

    def answers(self) -> bool:
        """Whether a command gets an answer."""
        try:
            self.gate.show()
        except GateGone:
            return False
        return True

    def kill(self, pid: int) -> None:
        """Kill a process of the gate."""
        os.kill(pid, signal.SIGKILL)

    def counters(self) -> Counters:
        """The gate's counters; does not ask the worker."""
        found = read_counters(self.run_directory)
        assert found is not None, "the gate is gone"
        return found

    def held(self) -> bool:
        """Whether requests are withheld; does not ask the worker."""
        counters = read_counters(self.run_directory)
        return counters is not None and counters.held

    def wait_until_held(self) -> None:
        """Until requests are withheld."""
        wait_until(self.held)

    def receipts(self) -> list[dict[str, Any]]:
        """The receipts that the gate has written, oldest first."""
        spool = self.state_directory / "spool"
        return [json.loads(path.read_text()) for path in sorted(spool.glob("*.json"))]

    def wait_for_receipt(self, strategy: str) -> dict[str, Any]:
        """The first receipt of this strategy, when it is written."""

        def found() -> list[dict[str, Any]]:
            return [each for each in self.receipts() if each["strategy"] == strategy]

        wait_until(lambda: bool(found()))
        return found()[0]

    def kill_everything(self) -> None:
        """Keeper and worker at once, before either can bring the other back."""
        counters = read_counters(self.run_directory)
        if counters is None:
            return
        pids = (counters.keeper_pid, counters.worker_pid)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        wait_until(lambda: not gate_is_running(self.run_directory))

    def copy(self, image: Path, destination: Path) -> Path:
        """A copy of an image as it was at one instant: nobody writes to it meanwhile."""
        shown = self.gate.show()
        with stopped((shown["keeper_pid"], shown["worker_pid"])):
            copy_image(image, destination)
        return destination

    def detach(self) -> None:
        """Take the stack down."""
        detach_volume(self.settings, self.volume)

    def attach(self, *, force: bool = False) -> None:
        """Bring it up again."""
        attach_volume(self.settings, self.volume, force=force)

    # --- the application --------------------------------------------------------------------

    def start(self, activity: str, *, wait: bool = True) -> Activity:
        """An application at work; with `wait` it has begun to work when this returns."""
        if not (self.mountpoint / "mapped.pages").exists():
            prepare(self.mountpoint)
        self.activity = self._stack.enter_context(Activity(activity, self.mountpoint, self.folder))
        if wait:
            self.activity.goes_on(10)
        return self.activity

    @contextmanager
    def during(self, cell: Cell) -> Iterator[Callable[[], None]]:
        """The application of the cell is at work inside the block, and goes on after it.

        The value waits until it goes on. An idle cell's application starts only afterwards, or
        when the value is called.
        """
        if cell.activity != IDLE:
            self.start(cell.activity)
        else:
            prepare(self.mountpoint)

        def goes_on() -> None:
            if self.activity is None:
                self.start(FLUSHING)
            else:
                self.activity.goes_on()

        yield goes_on
        goes_on()

    # --- the oracle -------------------------------------------------------------------------

    def check(self, legs: int | None = None) -> None:
        """Stop the application and apply the oracle; `legs`: how many must be in sync."""
        assert self.activity is not None
        result = self.activity.stop()
        assert result.errors == 0, result.first_errors
        acknowledged = result.operations if self.activity.name == FLUSHING else result.acknowledged
        assert acknowledged == result.acknowledged
        self._check_data(self.activity, acknowledged)
        assert self.gate.show()["errors_returned"] == 0
        self.detach()
        self.check_legs(self.activity, acknowledged, legs)

    def check_after_loss(self, acknowledged: int, legs: int | None = None) -> None:
        """The oracle after a crash of everything: what was acknowledged before is there."""
        assert self.activity is not None
        self._check_data(self.activity, acknowledged)
        self.detach()
        self.check_legs(self.activity, acknowledged, legs)

    def _check_data(self, activity: Activity, acknowledged: int) -> None:
        assert acknowledged > 0
        assert activity.verify(self.mountpoint, acknowledged) == []

    def check_legs(self, activity: Activity, acknowledged: int, legs: int | None = None) -> None:
        """Every leg in sync of the detached volume is clean, complete, and like the others."""
        configuration = load_configuration(self.state_directory)
        in_sync = [leg for leg in configuration.legs if leg.state is LegState.IN_SYNC]
        assert in_sync
        assert legs is None or len(in_sync) == legs, configuration.legs
        images = [self.image(leg.url) for leg in in_sync]
        for other in images[1:]:
            limit = f"--bytes={configuration.size_bytes}"
            subprocess.run(["cmp", limit, str(images[0]), str(other)], check=True)
        filesystem = self.volume.mount.filesystem
        exact = self.folder / "checked"
        subprocess.run(["cp", "--sparse=always", str(images[0]), str(exact)], check=True)
        os.truncate(exact, configuration.size_bytes)
        check = subprocess.run(
            [*CHECKS[filesystem], str(exact)], check=False, capture_output=True, text=True
        )
        assert check.returncode == 0, check.stdout + check.stderr
        place = self.folder / "by itself"
        place.mkdir(exist_ok=True)
        mount_image(exact, place, "ro")
        try:
            assert activity.verify(place, acknowledged) == []
        finally:
            subprocess.run(["umount", str(place)], check=True)
            # Somebody else who looks at all disks may keep it a moment longer.
            wait_until(lambda: str(exact) not in {each.backing_file for each in loop_devices()})
            exact.unlink()

    def say_what_is(self) -> None:
        """For the report of a test that failed."""
        with suppress(Exception):
            print("gate:", json.dumps(self.gate.show(), indent=1))
        if os.environ.get("FAULT_SPY"):
            for pid in (self.gate.show()["worker_pid"], self.gate.show()["keeper_pid"]):
                subprocess.run([os.environ["FAULT_SPY"], "dump", "--pid", str(pid)], check=False)
        with suppress(OSError):
            print("gate.log:", (self.state_directory / "gate.log").read_text()[-3000:])
        if self.activity is not None:
            print("activity:", self.activity.snapshot())
        for receipt in self.receipts():
            print("receipt:", json.dumps(receipt))


def fuse_leg(folder: Path, name: str = "served", size_bytes: int = SIZE) -> FuseLeg:
    """A leg with a storage server of its own, for a volume of that size."""
    return FuseLeg(
        folder / f"{name}.image", folder / f"{name}.img", container_bytes_needed(size_bytes)
    )


def plain_legs(folder: Path, first: int, last: int) -> list[str]:
    """URLs of images that do not exist yet."""
    return [f"file:{folder}/leg-{number}.img" for number in range(first, last + 1)]
