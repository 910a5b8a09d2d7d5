"""This host, as every department of the service is given it: places, catalog, gates, volumes.

Owns the catalog's life and the judgement of Holdfast's own places. Must never change a volume:
departments do, each in its turn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from holdfast.adopted.report import report_adopted
from holdfast.applications.freezers.freezing import frozen, spool_of
from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.coordination import COORDINATOR
from holdfast.coordination.turn import WAIT_SECONDS
from holdfast.errors import (
    AlreadyExists,
    GateGone,
    HasNoGate,
    HoldfastError,
    NoSuchVolume,
    NotAttached,
)
from holdfast.gate.outside.client import GateClient
from holdfast.gate.outside.launch import gate_is_running
from holdfast.gate.processes.remains import working_processes
from holdfast.model.listing import first_of
from holdfast.model.volume import Volume, VolumeReport, check_name
from holdfast.service.places import judge_answering_places
from holdfast.service.rights import need_root
from holdfast.system.files.own_files import writing_own_files
from holdfast.volumes.recover import record_ends
from holdfast.volumes.report import report_volume
from holdfast.volumes.running import running_volumes

_log = logging.getLogger(__name__)


class Host:
    """Where things are on this host, and what is known of its volumes."""

    def __init__(self, settings: Settings) -> None:
        self.unjudged_settings = settings
        """As they were given: for `doctor`, which must work where they cannot be trusted."""
        self.set_aside: tuple[Path, ...] = ()
        """Receipts of gates that could not be read, under the names they have now."""

    @cached_property
    def settings(self) -> Settings:
        """The settings of this host; its places are judged when they are asked for first.

        Raises Untrusted; DeadlinePassed when their storage does not answer.
        """
        judge_answering_places(self.unjudged_settings)
        return self.unjudged_settings

    @cached_property
    def catalog(self) -> Catalog:
        """Opened when it is needed for the first time; one that was lost gets what runs."""
        was_there = self.settings.catalog_path.exists()
        catalog = Catalog(self.settings.catalog_path)
        if not was_there:
            for volume in running_volumes(self.settings, ()):
                with suppress(AlreadyExists):  # by another command, just now
                    catalog.add(volume)
        return catalog

    def close(self) -> None:
        """Close the catalog. Idempotent."""
        if "catalog" in self.__dict__:
            self.catalog.close()

    @contextmanager
    def turn(self, name: str, doing: str, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
        """Be the only changing command on this volume. Raises AtWork, BadInput,
        StateFailed where a disk is full or fails in the block.

        `doing`: what is about to be done, for the log.
        """
        about = {"volume": check_name(name)}
        began = time.monotonic()
        try:
            with (
                writing_own_files(self.settings.state_directory),
                COORDINATOR.turn(self.settings.run_directory, name, wait_seconds),
            ):
                yield
        except HoldfastError as error:
            _log.warning("%s: %s: %s", doing, error.code, error.message, extra=about)
            raise
        _log.info("%s: done in %.1f s", doing, time.monotonic() - began, extra=about)

    def volume(self, name: str) -> Volume:
        """What is recorded of a volume. Raises NoSuchVolume, BadInput."""
        return self.catalog.volume(check_name(name))

    def knows(self, name: str) -> bool:
        """Whether the catalog has a volume of that name."""
        return any(volume.name == name for volume in self.catalog.volumes())

    def show(self, name: str) -> VolumeReport:
        """One volume with its present state. Raises NoSuchVolume."""
        return self.report(self.catalog.volume(name))

    def report(self, volume: Volume) -> VolumeReport:
        """The present state of a volume. Changes nothing."""
        report = (report_adopted if volume.is_adopted else report_volume)(self.settings, volume)
        with suppress(HoldfastError, OSError):  # `thaw` says what is wrong with the record
            freeze = frozen(self.settings.run_directory, volume.name)
            if freeze is not None and freeze.of_this_boot:
                seconds = (freeze.deadline_ns - time.monotonic_ns()) / 1e9
                return replace(report, frozen_until=time.time() + seconds)
        return report

    def gate(self, name: str) -> GateClient:
        """The gate of an attached volume. Raises NoSuchVolume, NotAttached, GateGone, HasNoGate."""
        need_root()
        volume = self.volume(name)
        self.refuse_adopted(name)
        run_directory = self.settings.gate_run_directory(name)
        if gate_is_running(run_directory):
            return GateClient(run_directory)
        if not volume.attached:
            raise NotAttached(f"{name} is detached", f"holdfast volume attach {name}")
        if living := working_processes(run_directory):
            numbers = first_of(living, 2, between=" and ")
            raise GateGone(
                f"the gate of {name} works and does not answer: processes {numbers}",
                "It waits for its storage, or another worker begins: try again.",
            )
        raise GateGone(
            f"the gate of {name} does not run",
            f"holdfast recover, then holdfast volume attach {name}.",
        )

    def refuse_adopted(self, name: str) -> None:
        """Raise HasNoGate for an adopted volume; others, also unknown ones, pass."""
        with suppress(NoSuchVolume):
            if self.catalog.volume(name).is_adopted:
                raise HasNoGate(
                    f"{name} is an adopted volume: it has no gate and no legs",
                    f"holdfast volume gate {name} --leg URL --leg URL gives it a gate.",
                )

    def ingest(self) -> None:
        """Take in the receipts that gates and watchdogs have left. Idempotent."""
        record_ends(self.settings)
        spools = sorted((self.settings.state_directory / "gates").glob("*/spool"))
        for spool in (*spools, spool_of(self.settings.state_directory)):
            self.set_aside += self.catalog.ingest(spool).unreadable
