"""A last look at the old files: what they are, and the contents that must be carried over.

The look itself runs in an expendable child. What has no name is carried over because nobody can
find it again; what is mapped executable, because a program must not change under its process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from holdfast.applications.rebind.contents import copy_contents
from holdfast.applications.rebind.outcomes import Observed, observe
from holdfast.applications.rebind.parking import Note
from holdfast.applications.rebind.stopped import StoppedProcess
from holdfast.model.handle import Handle, HandleKind, LockKind
from holdfast.system.expendable import begun_in_expendable_child

_KINDS = frozenset({HandleKind.FILE, HandleKind.MAP, HandleKind.EXECUTABLE})


_Key = tuple[int, str, bool]
"""What tells a file from another one: inode, path and whether that is gone."""


@dataclass(frozen=True)
class _Question:
    link: str
    copy_to: str
    """Name in the record directory; empty: the contents are not needed."""
    digest_limit_bytes: int


@contextmanager
def looking_back(
    processes: Sequence[StoppedProcess],
    handles: Mapping[int, Sequence[Handle]],
    directory: Path,
    deadline_ns: int,
    digest_limit_bytes: int,
) -> Iterator[Callable[[], None]]:
    """A child looks at the old files while the caller notes the handles of the processes.

    Calling what this gives adds what is known of the files to the notes; it blocks until the
    deadline at most. Raises DeadlinePassed, OSError (no room for contents).
    """
    alike: dict[_Key, list[Handle]] = {}
    links: dict[_Key, str] = {}
    for process in processes:
        for handle in handles.get(process.pid, ()):
            if handle.kind in _KINDS:
                key = _key(handle)
                alike.setdefault(key, []).append(handle)
                links.setdefault(key, _link(process, handle))
    if not alike:
        yield lambda: None
        return
    questions = [
        _Question(
            links[key],
            f"contents-{number}" if _is_needed(alike[key]) else "",
            # Whoever opens a file breaks its leases.
            -1 if _is_leased(alike[key]) else digest_limit_bytes,
        )
        for number, key in enumerate(alike)
    ]
    with begun_in_expendable_child(
        partial(_look, questions, directory),
        max((deadline_ns - time.monotonic_ns()) / 1e9, 0.001),
        "the old storage",
    ) as answers:

        def add() -> None:
            found = dict(zip(alike, zip(questions, answers(), strict=True), strict=True))
            for process in processes:
                for note in process.notes:
                    if note.handle.kind in _KINDS:
                        _add(note, *found[_key(note.handle)])

        yield add


def _key(handle: Handle) -> _Key:
    return handle.inode, handle.inside, handle.deleted


def _add(note: Note, question: _Question, answer: tuple[int | str, ...] | None) -> None:
    if answer is not None:
        note.details["before"] = dict(zip(Observed.names(), answer, strict=True))
        if question.copy_to:
            note.details["contents"] = question.copy_to


def _is_needed(handles: Sequence[Handle]) -> bool:
    return any(
        handle.deleted
        or handle.kind is HandleKind.EXECUTABLE
        or (handle.kind is HandleKind.MAP and "x" in handle.mode)
        for handle in handles
    )


def _is_leased(handles: Sequence[Handle]) -> bool:
    return any(lock.kind is LockKind.LEASE for handle in handles for lock in handle.locks)


def _link(process: StoppedProcess, handle: Handle) -> str:
    if handle.kind is HandleKind.MAP:
        return f"/proc/{process.pid}/map_files/{handle.start:x}-{handle.end:x}"
    if handle.kind is HandleKind.EXECUTABLE:
        return f"/proc/{process.pid}/exe"
    return f"{process.folder(handle.thread_id)}/fd/{handle.number}"


def _look(questions: Sequence[_Question], directory: Path) -> list[tuple[int | str, ...] | None]:
    """In an expendable child: what each Observed consists of, which is quicker to hand over.

    A file that cannot be read is not compared, and not carried over.
    """
    answers: list[tuple[int | str, ...] | None] = []
    for question in questions:
        observed = None
        with suppress(OSError):
            observed = observe(question.link, question.digest_limit_bytes)
        if observed is not None and question.copy_to:
            target = os.open(
                directory / question.copy_to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600
            )
            try:
                copy_contents(question.link, target)
            finally:
                os.close(target)
            observed = replace(observed, digest="")  # compared as a whole
        answers.append(None if observed is None else tuple(vars(observed).values()))
    return answers
