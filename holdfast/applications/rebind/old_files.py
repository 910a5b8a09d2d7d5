"""A last look at the old files: what they are, and the contents that must be carried over.

Runs in an expendable child. A file is described by its inode: what its file system calls it, owner,
mode and type; an equal file is found by these afterwards (see `finding`). Files without a name are
carried over because nobody can find them again; what is mapped executable is carried over because a
program must not change while it runs. Invariant: one inode is carried over once, by however many
names and handles it was opened.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.applications.rebind.handles import DRIVERS
from holdfast.applications.rebind.parking.kept_contents import KeptContents
from holdfast.applications.rebind.parking.notes import HandleNote, PlaceDetails
from holdfast.applications.rebind.parking.observed import Observed, observe, remembered_as
from holdfast.applications.rebind.parking.relocation import key_of
from holdfast.applications.rebind.parking.removed import directories_above, keep_node
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.errors import Blocked, HoldfastError
from holdfast.model.bounded import made
from holdfast.model.handle import Handle, HandleKind, LockKind
from holdfast.system.children.expendable import begun_in_expendable_child
from holdfast.system.files.beneath import path_to
from holdfast.system.processes.process import copy_descriptor

_WITH_CONTENTS = frozenset({HandleKind.FILE, HandleKind.MAP, HandleKind.EXECUTABLE})
_PLACES = {HandleKind.WORKING_DIRECTORY: "cwd", HandleKind.ROOT: "root"}

_MEMORY_SECONDS = 2.0
"""How long is waited for what the kernel remembers of storage that may hang."""


_Key = tuple[int, int, str, bool, bool]
"""What tells a file from another one: mount, inode, path and whether that is gone; and whether it
has contents."""


class _FileQuestion(NamedTuple):
    link: str
    is_needed: bool
    """Whether its contents are, whatever is found; they are also when it has no name any more."""
    lasting: bool
    digest_limit_bytes: int
    leased: bool = False
    """Who opens it breaks its leases."""
    lent_by: tuple[int, int] | None = None
    """Task and number of a descriptor to read it through instead."""


_OBSERVED = Observed.names()

_Values = tuple[Any, ...]
"""What an Observed consists of, which is quicker to hand over."""

_Answer = tuple[_Values, str, Sequence[_Values]]
"""The file, where its contents are, and of a removed directory those above it."""


@contextmanager
def inspecting_old_files(
    processes: Sequence[StoppedProcess],
    handles: Mapping[int, Sequence[Handle]],
    directory: Path,
    deadline_ns: int,
    digest_limit_bytes: int,
    lasting: Collection[int] = (),
) -> Iterator[Callable[[], None]]:
    """A child looks at the old files while the caller notes the handles of the processes.

    Calling what this gives adds what is known of the files to the notes; it blocks until the
    deadline at most. `lasting`: mounts whose file system gives out identities that last. Raises
    DeadlinePassed, OSError (no room for contents).
    """
    alike, links = _alike(processes, handles)
    if not alike:
        yield lambda: None
        return
    leased = {each.inode for mine in alike.values() for each in mine if _is_leased(each)}
    questions = []
    for key, mine in alike.items():
        plain = _FileQuestion(links[key], False, key[0] in lasting, digest_limit_bytes)
        questions.append(_question(mine, plain, key[1] in leased))
    with begun_in_expendable_child(
        partial(_look, questions, directory),
        max((deadline_ns - time.monotonic_ns()) / 1e9, 0.001),
        "the old storage",
    ) as answers:

        def add() -> None:
            found = dict(zip(alike, answers(), strict=True))
            for process in processes:
                process.notes = [
                    _told(note, found.get(_key(note.handle))) for note in process.notes
                ]

        yield add


def add_what_kernel_remembers(
    processes: Sequence[StoppedProcess],
    handles: Mapping[int, Sequence[Handle]],
    lasting: Collection[int] = (),
) -> None:
    """Add to the notes what the kernel remembers of files on storage that must not be asked.

    Where even that hangs nothing is added. Blocks for some seconds at most.
    """
    alike, links = _alike(processes, handles)
    questions = [(links[key], key[0] in lasting) for key in alike]
    with suppress(HoldfastError, OSError):
        with begun_in_expendable_child(
            partial(_remember, questions), _MEMORY_SECONDS, "the kernel's memory of files"
        ) as answers:
            found = dict(zip(alike, answers(), strict=True))
        for process in processes:
            process.notes = [
                _told(note, found.get(_key(note.handle)), is_memory=True) for note in process.notes
            ]


def parked_inodes(processes: Iterable[StoppedProcess]) -> dict[str, tuple[str, int, str]]:
    """What is parked, by `relocation.key_of`; see `Rebind.inodes`."""
    found: dict[str, tuple[str, int, str]] = {}
    for process in processes:
        for was, inside in _inodes_of(process.notes):
            key = key_of(was.identity, was.inode)
            found.setdefault(key, (was.identity, was.inode, inside))
    return found


def _inodes_of(notes: Sequence[HandleNote]) -> Iterator[tuple[Observed, str]]:
    """For each note what is known of its inode, and its path on the file system; of a removed
    directory also of the one that it was in."""
    for note in notes:
        for wanted in DRIVERS[note.handle.kind].requests(note):
            was = wanted.was or note.details.was
            if was is not None:
                yield was, note.handle.inside
        if isinstance(note.details, PlaceDetails) and note.details.above:
            above = note.details.above
            yield above[-1], "/".join(note.handle.inside.split("/")[: -len(above)])


def _alike(
    processes: Sequence[StoppedProcess], handles: Mapping[int, Sequence[Handle]]
) -> tuple[dict[_Key, list[Handle]], dict[_Key, str]]:
    alike: dict[_Key, list[Handle]] = {}
    links: dict[_Key, str] = {}
    for process in processes:
        for handle in handles.get(process.pid, ()):
            link = _link(process, handle)
            if link:
                key = _key(handle)
                alike.setdefault(key, []).append(handle)
                links.setdefault(key, link)
    return alike, links


def _key(handle: Handle) -> _Key:
    has_contents = handle.kind in _WITH_CONTENTS
    return handle.mount_id, handle.inode, handle.inside, handle.deleted, has_contents


def _question(handles: Sequence[Handle], plain: _FileQuestion, leased: bool) -> _FileQuestion:
    if handles[0].kind not in _WITH_CONTENTS:
        return plain._replace(digest_limit_bytes=-1, leased=leased)
    needed = plain._replace(is_needed=True) if _is_needed(handles) else plain
    if not leased:
        return needed
    readable = [each for each in handles if "r" in each.mode and each.number is not None]
    lenders = [(each.thread_id or each.pid, each.number or 0) for each in readable]
    lent_by = lenders[0] if lenders else None
    return needed._replace(digest_limit_bytes=-1, leased=True, lent_by=lent_by)


def _told(note: HandleNote, answer: _Answer | None, *, is_memory: bool = False) -> HandleNote:
    if answer is None:
        return note
    values, contents, above = answer
    observed = _made(values)
    if not _is_what_it_was(note.handle.kind, observed.mode):
        raise Blocked(
            f"process {note.handle.pid}: {note.handle.path} is no {note.handle.kind} any more",
            "Try again.",
        )
    # Nobody else has seen this note yet, and to copy ten thousands takes as long as to look.
    details = vars(note.details)
    details["remembered" if is_memory else "before"] = observed
    if contents:
        details["contents"] = contents
    if above and isinstance(note.details, PlaceDetails):
        details["above"] = tuple(map(_made, above))
    if observed.links == 0 and not note.handle.deleted:  # since it was found
        return HandleNote(replace(note.handle, deleted=True), note.details)
    return note


def _made(values: _Values) -> Observed:
    return made(Observed, dict(zip(_OBSERVED, values, strict=True)))


_RIGHT = {
    HandleKind.FILE: stat.S_ISREG,
    HandleKind.DIRECTORY: stat.S_ISDIR,
    HandleKind.FIFO: stat.S_ISFIFO,
    HandleKind.DEVICE: stat.S_ISCHR,
}


def _is_what_it_was(kind: HandleKind, mode: int) -> bool:
    """Whether an inode of this mode can be behind a handle that was taken over from the first look,
    by number (see earlier_look)."""
    is_right = _RIGHT.get(kind)
    return is_right is None or is_right(mode)


def _is_needed(handles: Sequence[Handle]) -> bool:
    return any(
        handle.deleted
        or handle.kind is HandleKind.EXECUTABLE
        or (handle.kind is HandleKind.MAP and "x" in handle.mode)
        for handle in handles
    )


def _is_leased(handle: Handle) -> bool:
    return any(lock.kind is LockKind.LEASE for lock in handle.locks)


_WITHOUT_LINK = frozenset(
    {
        HandleKind.INOTIFY,
        HandleKind.FANOTIFY,
        HandleKind.OPENING,
        HandleKind.SOCKET,
        HandleKind.SENDER,
        HandleKind.CONNECTION,
    }
)


def _link(process: StoppedProcess, handle: Handle) -> str:
    """What leads to its inode; empty for a watch, a mark, a socket, and what is not open yet."""
    if handle.kind is HandleKind.MAP:
        return f"/proc/{process.pid}/map_files/{handle.start:x}-{handle.end:x}"
    if handle.kind is HandleKind.EXECUTABLE:
        return f"/proc/{process.pid}/exe"
    if handle.kind in _WITHOUT_LINK:
        return ""
    place = _PLACES.get(handle.kind, f"fd/{handle.number}")
    return f"{process.folder(handle.thread_id)}/{place}"


def _look(questions: Sequence[_FileQuestion], directory: Path) -> list[_Answer | None]:
    """Look at files, in an expendable child. Unreadable ones are neither compared nor carried."""
    answers: list[_Answer | None] = []
    kept = KeptContents.read(directory)
    copies: dict[tuple[int, int], str] = {}
    for question in questions:
        observed = None
        with suppress(OSError):
            observed = _observed(question)
        contents = ""
        above: list[Observed] = []
        if observed is not None and (question.is_needed or observed.links == 0):
            if stat.S_ISDIR(observed.mode):
                look = partial(observe, lasting=question.lasting)
                above = directories_above(question.link, look)
            elif stat.S_ISREG(observed.mode):
                inode = observed.device, observed.inode
                contents = _carried(question, inode, kept, copies)
            else:
                contents = keep_node(question.link, observed, directory)
            observed = replace(observed, digest="")  # compared as a whole
        answers.append(None if observed is None else _answer(observed, contents, above))
    if copies:
        kept.write()
    return answers


def _answer(observed: Observed, contents: str = "", above: Sequence[Observed] = ()) -> _Answer:
    return tuple(vars(observed).values()), contents, [tuple(vars(each).values()) for each in above]


def _observed(question: _FileQuestion) -> Observed:
    """The file as it is. Its link is followed once: that takes longer than all the rest."""
    place = os.open(question.link, os.O_PATH | os.O_CLOEXEC)
    try:
        return observe(place, question.digest_limit_bytes, lasting=question.lasting)
    finally:
        os.close(place)


def _carried(
    question: _FileQuestion,
    inode: tuple[int, int],
    kept: KeptContents,
    copies: dict[tuple[int, int], str],
) -> str:
    """The name of its kept contents; empty when they cannot be read without breaking a lease."""
    if inode not in copies:
        if question.leased and question.lent_by is None:
            return ""
        if question.lent_by is None:
            place = os.open(question.link, os.O_PATH | os.O_CLOEXEC)
            try:
                copies[inode] = kept.keep(place, is_used=False)[0].name
            finally:
                os.close(place)
        else:
            copies[inode] = _keep_lent(kept, question.lent_by)
    return copies[inode]


def _keep_lent(kept: KeptContents, lent_by: tuple[int, int]) -> str:
    reading = copy_descriptor(*lent_by)
    try:
        return kept.keep_lent(reading)[0].name
    finally:
        os.close(reading)


def _remember(questions: Sequence[tuple[str, bool]]) -> list[_Answer | None]:
    """Note what the kernel remembers of the files; runs in an expendable child."""
    answers: list[_Answer | None] = []
    for link, lasting in questions:
        observed = None
        above: list[Observed] = []
        with suppress(OSError):
            observed = remembered_as(link, lasting=lasting)
            if observed.links == 0 and stat.S_ISDIR(observed.mode):
                above = directories_above(link, partial(_remembered_at, lasting=lasting))
        answers.append(None if observed is None else _answer(observed, above=above))
    return answers


def _remembered_at(place: int, *, lasting: bool) -> Observed:
    return remembered_as(path_to(place), lasting=lasting)
