"""A last look at the old files: what they are, and the contents that must be carried over.

The look itself runs in an expendable child. What has no name is carried over because nobody can
find it again; what is mapped executable, because a program must not change under its process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from holdfast.applications.rebind.contents import copy_contents
from holdfast.applications.rebind.outcomes import Observed, observe
from holdfast.applications.rebind.parking import Note
from holdfast.applications.rebind.stopped import StoppedProcess
from holdfast.model.handle import Handle, HandleKind, LockKind
from holdfast.system.expendable import in_expendable_child

_KINDS = frozenset({HandleKind.FILE, HandleKind.MAP, HandleKind.EXECUTABLE})


@dataclass(frozen=True)
class _Question:
    link: str
    copy_to: str
    """Name in the record directory; empty: the contents are not needed."""
    digest_limit_bytes: int


def look_back(
    processes: Sequence[StoppedProcess], directory: Path, deadline_ns: int, digest_limit_bytes: int
) -> None:
    """Add what is known of the old files to the notes.

    Blocks until the deadline at most. Raises DeadlinePassed, OSError (no room for contents).
    """
    notes: dict[tuple[int, str, bool], list[Note]] = {}
    links: dict[tuple[int, str, bool], str] = {}
    for process in processes:
        for note in process.notes:
            if note.handle.kind in _KINDS:
                key = (note.handle.inode, note.handle.inside, note.handle.deleted)
                notes.setdefault(key, []).append(note)
                links.setdefault(key, _link(process, note.handle))
    if not notes:
        return
    questions = [
        _Question(
            links[key],
            f"contents-{number}" if _is_needed(notes[key]) else "",
            # Whoever opens a file breaks its leases.
            -1 if _is_leased(notes[key]) else digest_limit_bytes,
        )
        for number, key in enumerate(notes)
    ]
    answers = in_expendable_child(
        partial(_look, questions, directory),
        max((deadline_ns - time.monotonic_ns()) / 1e9, 0.001),
        "the old storage",
    )
    for key, question, answer in zip(notes, questions, answers, strict=True):
        for note in notes[key]:
            if answer is not None:
                note.details["before"] = dict(zip(Observed.names(), answer, strict=True))
                if question.copy_to:
                    note.details["contents"] = question.copy_to


def _is_needed(notes: Sequence[Note]) -> bool:
    return any(
        note.handle.deleted
        or note.handle.kind is HandleKind.EXECUTABLE
        or (note.handle.kind is HandleKind.MAP and "x" in note.handle.mode)
        for note in notes
    )


def _is_leased(notes: Sequence[Note]) -> bool:
    return any(lock.kind is LockKind.LEASE for note in notes for lock in note.handle.locks)


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
