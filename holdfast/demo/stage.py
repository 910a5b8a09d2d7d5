"""The stage of the demo: one volume, its storage, the applications at work, and how to wait.

Invariant: an interruption takes effect only where the story waits (`check`), never in the middle of
a step, so that whatever was begun is either done or can be seen by `dismantle`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from holdfast.config import Settings
from holdfast.demo.applications.launch import APPLICATIONS, RunningApplication
from holdfast.demo.dismantle import VOLUME
from holdfast.demo.storage import ServedStorage, Storage
from holdfast.demo.timeline import Timeline
from holdfast.errors import GateGone
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.model.receipt import Receipt
from holdfast.model.volume import LegReport, LegState, VolumeReport, VolumeState
from holdfast.policy.watching import watcher
from holdfast.service import Holdfast, NewVolume

VOLUME_BYTES = 512 << 20
HANG_TIMEOUT_SECONDS = 1.0
HOLD_TIMEOUT_SECONDS = 120.0
AT_REST_FILES = 16
AT_REST_FILE_BYTES = 4 << 20
_POLL_SECONDS = 0.01
_MOVE_SECONDS = 0.1
_PATIENCE_SECONDS = 60.0


class ActFailed(Exception):
    """What an act is about did not come true."""


class DemoInterrupted(Exception):
    """Somebody wants the demo to end."""


class Stage:
    """Everything that the acts work with."""

    def __init__(self, home: Path, timeline: Timeline, interrupted: Callable[[], bool]) -> None:
        self.home = home
        self.timeline = timeline
        self._interrupted = interrupted
        self.holdfast = Holdfast(Settings(home=home))
        self.mount = home / "volume"
        container_bytes = container_bytes_needed(VOLUME_BYTES)
        self.a = Storage(home, "A")
        self.b = ServedStorage(home, "B", container_bytes)
        self.c = ServedStorage(home, "C", container_bytes)
        self.d = Storage(home, "D")
        self.e = Storage(home, "E")
        self.f = Storage(home, "F")
        self.g = Storage(home, "G")
        self.h = Storage(home, "H")
        self.applications: list[RunningApplication] = []
        self.at_rest: dict[str, str] = {}
        """SHA-256 of files that nobody writes to, by name."""
        self.at_rest_folder = self.mount / "at-rest"
        self.at_rest_bytes = AT_REST_FILES * AT_REST_FILE_BYTES
        self._receipts_seen: set[str] = set()
        self._earlier_waits_ms: dict[str, float] = {}

    def build(self) -> VolumeReport:
        """Start the storage servers, create the volume and put files on it."""
        for storage in (self.b, self.c):
            storage.start()
        self.check()
        self.timeline.move("creating the volume")
        report = self.holdfast.create_volume(
            NewVolume(
                name=VOLUME,
                size_bytes=VOLUME_BYTES,
                mount_path=str(self.mount),
                leg_urls=(self.a.url, self.b.url),
                spare_urls=(self.c.url,),
                hang_timeout_seconds=HANG_TIMEOUT_SECONDS,
                hold_timeout_seconds=HOLD_TIMEOUT_SECONDS,
            )
        )
        self.at_rest_folder.mkdir()
        for number in range(AT_REST_FILES):
            self.check()
            self.timeline.move(f"writing files ({number} of {AT_REST_FILES})")
            content = os.urandom(AT_REST_FILE_BYTES)
            with (self.at_rest_folder / f"file-{number:02d}").open("wb") as file:
                file.write(content)
                os.fsync(file.fileno())
            self.at_rest[f"file-{number:02d}"] = hashlib.sha256(content).hexdigest()
        return report

    def start_applications(self) -> None:
        """Start them and wait until each has done real work."""
        outside = self.home / "applications"
        outside.mkdir()
        for name in APPLICATIONS:
            directory = self.mount / name
            directory.mkdir()
            self.applications.append(RunningApplication(name, directory, outside))
        self.progress(100)

    def start_daemon(self) -> None:
        """Start the daemon that carries out policies, and wait until it watches."""
        environment = {**os.environ, "HOLDFAST_HOME": str(self.home)}
        command = [sys.executable, "-m", "holdfast.cli", "daemon", "--interval", "0.5s"]
        with (self.home / "daemon.log").open("wb") as words:
            daemon = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                cwd="/",
                env=environment,
                start_new_session=True,  # Ctrl-C is meant for the demo
            )
        run_directory = self.holdfast.settings.run_directory
        self.until(lambda: watcher(run_directory) == daemon.pid, "the daemon watches")

    # --- waiting ----------------------------------------------------------------------------

    def check(self) -> None:
        """Raise Interrupted when somebody wants the end, ActFailed when an application died."""
        self.check_interruption()
        for application in self.applications:
            status = application.process.poll()
            if status is not None:
                words = application.words().splitlines()[-1:] or ["no words"]
                raise ActFailed(f"{application.name} died (status {status}): {words[0]}")

    def check_interruption(self) -> None:
        """Raise Interrupted when somebody wants the end, or nobody reads any more."""
        if self._interrupted() or self.timeline.broken:
            raise DemoInterrupted

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the condition holds. Raises ActFailed when it takes too long."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        next_move = 0.0
        while not condition():
            self.check()
            now = time.monotonic()
            if now > deadline:
                raise ActFailed(f"{what}: not within {_PATIENCE_SECONDS:g} s")
            if now >= next_move:
                self.timeline.move(self.moving_text())
                next_move = now + _MOVE_SECONDS
            time.sleep(_POLL_SECONDS)
        self.check()

    def pause(self, seconds: float) -> None:
        """Let the applications work, or wait, for a while."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, "time goes by")

    def progress(self, operations: int = 20) -> None:
        """Wait until every application has done so much more, which ends every earlier wait."""
        goals = [each.snapshot().operations + operations for each in self.applications]
        pairs = list(zip(self.applications, goals, strict=True))
        self.until(
            lambda: all(each.snapshot().operations >= goal for each, goal in pairs),
            "the applications go on",
        )

    # --- looking ----------------------------------------------------------------------------

    def show(self) -> VolumeReport:
        """The volume now."""
        return self.holdfast.show_volume(VOLUME)

    def leg(self, storage: Storage) -> LegReport | None:
        """The leg on this storage, None when it is none (any more)."""
        return next((leg for leg in self.show().legs if leg.url == storage.url), None)

    def number(self, storage: Storage) -> int:
        """The number of the leg on this storage. Raises ActFailed."""
        leg = self.leg(storage)
        if leg is None:
            raise ActFailed(f"{storage} is no leg")
        return leg.number

    def until_lost(self, storage: Storage) -> None:
        """Wait until the leg on this storage serves no more."""

        def lost() -> bool:
            leg = self.leg(storage)
            return leg is None or leg.state is not LegState.IN_SYNC

        self.until(lost, f"the loss of {storage} is noticed")

    def until_healthy(self, *storages: Storage) -> None:
        """Wait until exactly these are the volume's legs, all in sync."""
        urls = {storage.url for storage in storages}

        def healthy() -> bool:
            report = self.show()
            legs = {leg.url for leg in report.legs if leg.state is LegState.IN_SYNC}
            return report.state is VolumeState.HEALTHY and legs == urls

        self.until(healthy, f"{' and '.join(map(str, storages))} are in sync")

    def worker_pid(self) -> int:
        """The worker's process. Raises GateGone."""
        gate = self.show().gate
        if gate is None:
            raise GateGone("the gate does not answer")
        return gate.worker_pid

    def receipt(self, strategy: str, cause: str = "") -> Receipt:
        """Wait for a receipt of this kind that was not asked for before."""
        found: list[Receipt] = []

        def arrived() -> bool:
            found.extend(
                receipt
                for receipt in reversed(self.holdfast.receipts(VOLUME))
                if receipt.strategy == strategy
                and cause in receipt.cause
                and receipt.id not in self._receipts_seen
            )
            return bool(found)

        self.until(arrived, f"the receipt of the {strategy}")
        self._receipts_seen.add(found[0].id)
        return found[0]

    def wrong_at_rest(self, root: Path) -> list[str]:
        """What is not as it was among the files at rest below this root of the volume, in words."""
        faults = []
        for name, digest in self.at_rest.items():
            try:
                path = root / self.at_rest_folder.name / name
                found = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                faults.append(f"{name} cannot be read: {error.strerror}")
            else:
                if found != digest:
                    faults.append(f"{name} is garbled")
        return faults

    # --- what the applications feel -----------------------------------------------------------

    def begin_act(self) -> None:
        """Measure waits anew, for `act_waits_ms`."""
        self.begin_window()
        self._earlier_waits_ms = {}

    def begin_window(self) -> None:
        """Measure waits anew within an act."""
        self._earlier_waits_ms = self.act_waits_ms()
        for application in self.applications:
            application.progress.begin_window()

    def act_waits_ms(self) -> dict[str, float]:
        """The longest wait of each application in this act."""
        earlier = self._earlier_waits_ms
        return {name: max(wait, earlier.get(name, 0.0)) for name, wait in self.waits_ms().items()}

    def waits_ms(self) -> dict[str, float]:
        """The longest wait of each application since `begin_window`, also one that lasts."""
        waits = {}
        for application in self.applications:
            now = application.snapshot()
            since = now.waiting_since_ns
            lasting_ns = max(0, time.monotonic_ns() - since) if since else 0
            waits[application.name] = max(now.window_wait_ns, lasting_ns) / 1e6
        return waits

    def errors(self) -> int:
        """Errors that applications have seen."""
        return sum(application.snapshot().errors for application in self.applications)

    def moving_text(self) -> str:
        """What the applications do right now, for the line that moves."""
        parts = []
        for application in self.applications:
            now = application.snapshot()
            text = f"{application.name} {now.operations:,} operations"
            since = now.waiting_since_ns
            waiting = (time.monotonic_ns() - since) / 1e9 if since else 0.0
            parts.append(text + (f", waiting {waiting:.1f} s" if waiting > 0.1 else ""))
        return " · ".join(parts)
