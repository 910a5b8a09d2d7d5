"""Writes down what the stopped users of a volume have, and moves their handles to placeholders.

Invariant: everything that is needed to make a handle again is in the record before any handle is
changed. Both may be run again from the beginning.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from holdfast.applications.rebind.agent.steps import Steps, side_by_side, through, to_end
from holdfast.applications.rebind.connections.exchange import exchange
from holdfast.applications.rebind.connections.making import NewConnections
from holdfast.applications.rebind.handles import DRIVERS
from holdfast.applications.rebind.handles.rings import end_requests
from holdfast.applications.rebind.noting import note_execution, note_handles
from holdfast.applications.rebind.old_files import add_what_kernel_remembers, inspecting_old_files
from holdfast.applications.rebind.parking.parked_datagrams import (
    ParkedDatagrams,
    refuse_too_many_sockets,
)
from holdfast.applications.rebind.parking.parked_pipes import make_pipes, refuse_too_many
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.record import ParkedProcess, ParkingRecord
from holdfast.applications.rebind.parking.stopped_process import Processes, StoppedProcess
from holdfast.applications.rebind.refusals import refuse_unbindable
from holdfast.applications.rebind.waited_pipes import WaitedPipes
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import Handle, HandleKind
from holdfast.model.mountpoint import MountPoint
from holdfast.system.files.inode_identity import LASTING


@dataclass(frozen=True)
class OldStorage:
    """What is known of the file system that is to be dismounted."""

    answers: bool
    """False: it may hang or is dead, and nothing is asked of it."""
    digest_limit_bytes: int
    """Files up to this size are compared by contents; -1: none is."""
    roots: Mapping[int, str]
    """Which directory of it each mount shows."""
    lasting: Collection[int]
    """Mounts whose inodes have identities that outlast a dismount."""
    without_execution: Collection[int]
    """Mounts that do not permit the execution of programs any more."""
    read_only: Collection[int]
    """Mounts that take no names, and will be mounted like that again."""

    @classmethod
    def of(
        cls,
        mounts: Sequence[MountPoint],
        *,
        answers: bool,
        digest_limit_bytes: int,
        is_whole: bool = True,
    ) -> OldStorage:
        """By its mounts. `is_whole`: it did not become read-only because it failed."""
        return cls(
            answers,
            digest_limit_bytes,
            {mount.id: mount.inside for mount in mounts},
            {mount.id for mount in mounts if mount.filesystem in LASTING},
            {mount.id for mount in mounts if "noexec" in mount.options.split(",")},
            {mount.id for mount in mounts if "ro" in _options(mount, is_whole)},
        )


def _options(mount: MountPoint, is_whole: bool) -> list[str]:
    return f"{mount.options},{mount.super_options if is_whole else ''}".split(",")


def write_down(
    processes: Sequence[StoppedProcess],
    handles: Mapping[int, Sequence[Handle]],
    storage: OldStorage,
    record: ParkingRecord,
    deadline_ns: int,
    connections: NewConnections,
) -> None:
    """Enter into the record what these processes have. `handles`: of each, by its number.

    `connections` has those then that take the place of theirs. Raises Blocked, DeadlinePassed,
    OSError; nothing of any process is changed.
    """
    directory = record.directory
    asked = handles if storage.answers else {}
    with inspecting_old_files(
        processes, asked, directory, deadline_ns, storage.digest_limit_bytes, storage.lasting
    ) as add:
        note_handles(processes, handles, storage.roots, directory, storage.lasting)
        add()
    if storage.without_execution:
        note_execution(processes, storage.without_execution)
    if not storage.answers:
        add_what_kernel_remembers(processes, handles, storage.lasting)
    refuse_too_many(processes)
    refuse_too_many_sockets(processes)
    refuse_unbindable(processes, storage.read_only)
    connections.make(processes)
    record.enter(*(_parked(process) for process in processes))


def _parked(process: StoppedProcess) -> ParkedProcess:
    return ParkedProcess(process.name, process.tracee.record(), tuple(process.notes))


def park_handles(
    processes: Processes, datagrams: ParkedDatagrams, connections: NewConnections
) -> None:
    """Let all handles point to placeholders, those of connections to new ones, and keep what waits
    in sockets. Processes that have ended are taken out, and those that do not do what is asked.
    Raises OSError."""
    placeholders = Placeholders()
    try:
        for process in list(processes.values()):
            with processes.unless_it_ends(process):
                process.tracee.set_parked(True)
        datagrams.keep(processes)
        make_pipes(processes, placeholders)
        _park_waited_pipes(processes, placeholders)
        exchange(processes, connections)
        works = [_parking(processes, each, placeholders) for each in processes.values()]
        side_by_side(works, lambda: processes.all_cooperate)
        for process in list(processes.values()):
            with processes.unless_it_ends(process):
                end_requests(process)
    finally:
        placeholders.close()


def _park_waited_pipes(processes: Processes, placeholders: Placeholders) -> None:
    """FIFOs for which requests of Linux AIO may wait, all at once: so it takes least time in which
    our death would end such a request otherwise than it is to."""
    with WaitedPipes(processes) as waited:
        for process in waited.holders():
            with processes.unless_it_ends(process):
                notes = process.notes_of(HandleKind.FIFO)
                to_end(through(DRIVERS[HandleKind.FIFO].park(process, notes, placeholders)))


def _parking(
    processes: Processes, process: StoppedProcess, placeholders: Placeholders
) -> Steps[None]:
    with processes.unless_it_ends(process):
        by_kind = process.notes_by_kind()
        for kind, driver in DRIVERS.items():
            if notes := by_kind.get(kind):
                yield from through(driver.park(process, notes, placeholders))
