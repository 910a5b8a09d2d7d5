"""Pipes of FIFOs while their file system is away: each has another FIFO in memory for that time.

What is in a pipe is nowhere but in the kernel, and lasts as long as somebody has an end of it. So
the users themselves keep it: their ends become ends of a FIFO of a file system in memory, into
which everything was copied before the first of them is replaced. Nothing is ever taken out of a
pipe: who has still, or again, an end of another one has the same bytes there.
Invariant: while everybody stands still, a FIFO of ours that any process has an end of has all that
was in the pipe; where there is none, the FIFO itself has. So both directions may be begun anew
after our death at any instant. Past the deadline whoever has an end goes on with whoever has the
other.
"""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from holdfast.applications.rebind.parking.notes import FifoDetails, HandleNote
from holdfast.applications.rebind.parking.parked_nodes import is_parked
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.stopped_process import Processes, StoppedProcess
from holdfast.errors import Blocked, HoldfastError
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import HandleKind
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.beneath import reopen
from holdfast.system.files.fifo import Fifo, is_hung_up, unread_bytes

_OPEN_SECONDS = 5.0
"""How long the old file system may take to open a FIFO that nobody can read any more."""


Notes = list[tuple[StoppedProcess, HandleNote]]
"""Of the ends of one FIFO, with who has them."""


@dataclass(frozen=True)
class End:
    """An open file description of a FIFO, and a descriptor of ours of it."""

    process: StoppedProcess
    note: HandleNote
    descriptor: int
    is_parked: bool

    @property
    def details(self) -> FifoDetails:
        return self.note.details_as(FifoDetails)

    @property
    def is_readable(self) -> bool:
        return "r" in self.note.handle.mode


def pipe_of(note: HandleNote) -> str:
    """Which pipe it is an end of: the inode's, by whatever mount it was opened."""
    was = note.details.was
    if was is not None:
        return f"pipe-{was.device}-{was.inode}"
    return f"pipe-of-mount-{note.handle.mount_id}-{note.handle.inode}"


def refuse_too_many(processes: Sequence[StoppedProcess]) -> None:
    """Raise Blocked when there are more ends of FIFOs than we can have open at once.

    Of other handles some are passed on before the next ones are opened.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
    by_process = {each.in_words: each.notes_of(HandleKind.FIFO) for each in processes}
    notes = [note for mine in by_process.values() for note in mine]
    keys, pipes = {note.details.key for note in notes}, {pipe_of(note) for note in notes}
    if 2 * len(keys) + 2 * len(pipes) > most:  # what takes the place of each, and copies of it
        user = max(by_process, key=lambda words: len(by_process[words]))
        raise Blocked(
            f"{len(keys)} ends of {len(pipes)} FIFOs are open, most of them in {user}: they cannot"
            f" be moved together by a process that may have {most * 2} descriptors",
            "Give this command a higher limit (prlimit --nofile), or end that process.",
        )


def make_pipes(processes: Processes, placeholders: Placeholders) -> None:
    """Make what takes the place of each FIFO, with what is in it: `placeholders.ends`.

    Blocks for seconds at most. Raises OSError, HoldfastError.
    """
    for notes in list(by_pipe(processes).values()):
        with ends_of(processes, notes) as ends:
            for end in ends:
                _tell_nobody(end.descriptor)
            if ends:
                _make_pipe(ends, placeholders)


@contextmanager
def carried_pipes(processes: Processes) -> Iterator[dict[str, int]]:
    """A reading end of what has the contents of each FIFO, by `pipe_of`. Raises OSError.

    Who has ended meanwhile, or ran on past the deadline, has changed what the notes say of the
    pipe: they say what is so now.
    """
    with ExitStack() as stack:
        found: dict[str, int] = {}
        for name, notes in list(by_pipe(processes).items()):
            with ends_of(processes, notes) as ends:
                source = _source(ends)
                if source is not None:
                    found[name] = source
                    stack.callback(os.close, source)
                    _note_changes(ends, notes, unread_bytes(source))
        yield found


def _note_changes(ends: Sequence[End], notes: Notes, now_bytes: int) -> None:
    over = {
        end.note.details.key: is_hung_up(end.descriptor)
        for end in ends
        if end.is_parked and end.note.handle.mode == "r"
    }
    for process, note in notes:
        was = note.details_as(FifoDetails)
        now = replace(was, hung_up=over.get(was.key, was.hung_up))
        if any(end.is_readable for end in ends):
            now = replace(now, unread_bytes=now_bytes)
        if now != was:
            place = process.notes.index(note)
            process.notes[place] = HandleNote(note.handle, now)


def by_pipe(processes: Processes) -> dict[str, Notes]:
    """The notes of the ends of each FIFO, by `pipe_of`."""
    found: dict[str, Notes] = {}
    for process in processes.values():
        for note in process.notes_of(HandleKind.FIFO):
            found.setdefault(pipe_of(note), []).append((process, note))
    return found


@contextmanager
def ends_of(processes: Processes, notes: Notes) -> Iterator[list[End]]:
    """All descriptions of a FIFO, each once, while we have descriptors of them."""
    with ExitStack() as stack:
        ends: dict[tuple[str, bool], End] = {}
        for process, note in notes:
            with processes.unless_it_ends(process):
                parked = is_parked(process, note)
                if (note.details.key, parked) not in ends:
                    copy = stack.enter_context(process.copy_of(note.handle))
                    ends[note.details.key, parked] = End(process, note, copy, parked)
        yield list(ends.values())


def _make_pipe(ends: Sequence[End], placeholders: Placeholders) -> None:
    ours = next((end for end in ends if end.is_parked), None)
    place = ours.descriptor if ours is not None else placeholders.new_fifo()
    fifo = Fifo(place)
    try:
        if ours is None:
            _fill(fifo, ends)
        for end in sorted(ends, key=lambda each: not each.details.hung_up):
            key = end.note.details.key
            if key not in placeholders.ends:
                opened = fifo.open(end.note.handle.flags, hung_up=end.details.hung_up)
                placeholders.ends[key] = placeholders.keep(opened)
    finally:
        fifo.close()


def _tell_nobody(descriptor: int) -> None:
    """Send no signal (O_ASYNC) when one end is opened, or replaced, after the other."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    if flags & os.O_ASYNC:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_ASYNC)


def _fill(fifo: Fifo, ends: Sequence[End]) -> None:
    """Copy what is in a pipe. Where nobody has an end to read it, one is opened for that."""
    capacity = ends[0].details.capacity_bytes
    for end in ends:
        if end.is_readable:
            fifo.fill(end.descriptor, capacity)
            return
    try:
        work = partial(_fill_through, fifo, ends[0].descriptor, capacity)
        in_expendable_child(work, _OPEN_SECONDS, "a FIFO on the old storage")
    except (HoldfastError, OSError):
        if ends[0].process.storage_answers:
            raise


def _fill_through(fifo: Fifo, writing: int, capacity: int) -> None:
    reading = reopen(writing, os.O_RDONLY | os.O_NONBLOCK)
    fifo.fill(reading, capacity)


def _source(ends: Sequence[End]) -> int | None:
    """A reading end of our FIFO; else one that a process has of the FIFO itself, where everything
    is that was moved."""
    for end in ends:
        if end.is_parked:
            return reopen(end.descriptor, os.O_RDONLY | os.O_NONBLOCK)
    for end in ends:
        if end.is_readable:
            return os.dup(end.descriptor)
    return None
