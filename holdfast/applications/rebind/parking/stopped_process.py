"""A stopped process while it is rebound: what it can be asked for, and the notes of its handles."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field

from holdfast.applications.rebind.agent.batch import closing
from holdfast.applications.rebind.agent.tracee import Tracee
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.tracing.errors import Uncooperative
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import Handle, HandleKind
from holdfast.system.processes.acting_as import Rights, rights_of


@dataclass
class StoppedProcess:
    """Everything a driver may ask of the process it works in."""

    pid: int
    name: str
    tracee: Tracee
    notes: list[HandleNote] = field(default_factory=list)
    storage_answers: bool = True
    """Whether the old storage may be asked for anything."""
    rights: tuple[Rights, ...] = ()
    """What it may do with files; none while it has ended."""

    @property
    def in_words(self) -> str:
        """Which one it is, for people."""
        return f"{self.name} (process {self.pid})"

    def notes_of(self, *kinds: HandleKind) -> list[HandleNote]:
        """The notes of handles of these kinds, in order."""
        return [note for note in self.notes if note.handle.kind in kinds]

    def notes_by_kind(self) -> dict[HandleKind, list[HandleNote]]:
        """All notes, in order."""
        found: dict[HandleKind, list[HandleNote]] = {}
        for note in self.notes:
            found.setdefault(note.handle.kind, []).append(note)
        return found

    def folder(self, thread_id: int | None) -> str:
        """The folder in /proc of the process, or of a thread with a table of its own."""
        return f"/proc/{self.pid}" + (f"/task/{thread_id}" if thread_id else "")

    @contextmanager
    def copy_of(self, handle: Handle) -> Iterator[int]:
        """A descriptor of ours of what a handle with a number has, closed at the end.

        Raises OSError when the process has closed it, ProcessLookupError when it has ended.
        """
        assert handle.number is not None
        copy = self.tracee.channel(handle.thread_id).take(handle.number)
        try:
            yield copy
        finally:
            os.close(copy)

    @contextmanager
    def socket_of(self, handle: Handle) -> Iterator[socket.socket]:
        """As `copy_of`; raises OSError also when it is no socket."""
        with self.copy_of(handle) as copy:
            end = socket.socket(fileno=copy)
            try:
                yield end
            finally:
                end.detach()

    def close_numbers(self, numbers: Iterable[int], thread_id: int | None) -> None:
        """Close descriptors inside; those in a row with one call."""
        for name, arguments in closing(numbers):
            self.tracee.call(name, *arguments, thread_id=thread_id)


def rights_of_process(pid: int) -> tuple[Rights, ...]:
    """The rights of a stopped process; none when it has ended."""
    with suppress(OSError):
        return (rights_of(pid),)
    return ()


class Processes(dict[int, StoppedProcess]):
    """All stopped processes, by number."""

    def __init__(self) -> None:
        super().__init__()
        self.uncooperative: list[tuple[Sequence[HandleNote], str]] = []
        """What those had that run on although they were to be moved, and what they did not do."""

    @property
    def all_cooperate(self) -> bool:
        """Whether each did what it was asked. Otherwise they are asked one after the other: who has
        spoilt many would let them compute at the same time, and others would wait."""
        return not self.uncooperative

    @contextmanager
    def unless_it_ends(self, process: StoppedProcess) -> Iterator[None]:
        """Work in a process; one that is killed meanwhile needs nothing any more and is taken out.

        So is one that does not do what is asked of it: nobody else may suffer for that.
        """
        try:
            yield
        except ProcessLookupError as error:
            self.pop(process.pid, None)
            if isinstance(error, Uncooperative):
                self.uncooperative.append((process.notes, error.strerror or str(error)))
            process.tracee.abandon()


def by_thread(notes: Sequence[HandleNote]) -> dict[int | None, list[HandleNote]]:
    """The notes of each table of descriptors or directories."""
    found: dict[int | None, list[HandleNote]] = {}
    for note in notes:
        found.setdefault(note.handle.thread_id, []).append(note)
    return found
