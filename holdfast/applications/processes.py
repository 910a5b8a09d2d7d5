"""A process as a whole: who it is, what it runs, what it read and wrote.

Nothing here touches storage; the command line is read in an expendable child, because it lies in
the memory of a process that may hang.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from holdfast.applications.identity import application_in, control_groups_of
from holdfast.applications.tasks import Table, thread_ids
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import User
from holdfast.system.children.expendable_batch import asking
from holdfast.system.proc import ProcessFacts, process_facts, process_ids, read, read_record

_EFFECTIVE_USER = re.compile(rb"^Uid:\s+\d+\s+(\d+)", re.MULTILINE)
_BYTES = re.compile(rb"^(read|write)_bytes: (\d+)", re.MULTILINE)


def examined(skip: frozenset[int]) -> Iterator[ProcessFacts]:
    """The processes that can use storage, ascending: no kernel threads, none of these."""
    for pid in sorted(process_ids()):
        if pid not in skip:
            with suppress(OSError):
                facts = process_facts(pid)
                if not facts.kernel_thread:
                    yield facts


@contextmanager
def asking_commands(tables: Sequence[Table]) -> Iterator[Callable[[], list[str]]]:
    """Command lines, arguments separated by blanks; empty where the process does not answer.

    A child reads while the caller works. Fetching blocks for a few seconds at most.
    """
    with asking(_command, tables) as answers:
        yield lambda: [answer or "" for answer in answers()]


def _command(table: Table) -> str:
    """Read the command line of a process; runs in an expendable child."""
    return os.fsdecode(read(f"{table.folder}/cmdline").rstrip(b"\0").replace(b"\0", b" "))


@dataclass(frozen=True)
class Told:
    """What is told of a process without asking its memory."""

    facts: ProcessFacts
    user_id: int
    control_groups: str
    threads: tuple[int, ...]
    transferred: tuple[int | None, int | None]


def told_of(facts: ProcessFacts) -> Told | None:
    """What is known of a process. None when it has ended, or its number is another's now."""
    try:
        now = process_facts(facts.pid)
        if now.start_time != facts.start_time:
            return None
        owner = _EFFECTIVE_USER.search(read_record(f"/proc/{facts.pid}/status"))
        return Told(
            facts=now,
            user_id=int(owner[1]) if owner else 0,
            control_groups=control_groups_of(facts.pid),
            threads=tuple(thread_ids(facts.pid)),
            transferred=transferred(facts.pid),
        )
    except OSError:
        return None


def as_user(told: Told, table: Table, command: str) -> User:
    """The process, without its handles."""
    command = command or told.facts.name
    read_bytes, written_bytes = told.transferred
    return User(
        pid=told.facts.pid,
        start_time=told.facts.start_time,
        name=told.facts.name,
        command=command,
        user_id=told.user_id,
        application=application_in(told.control_groups, command),
        threads=told.threads,
        mount_namespace=table.namespace,
        state=told.facts.state,
        read_bytes=read_bytes,
        written_bytes=written_bytes,
    )


def transferred(pid: int) -> tuple[int | None, int | None]:
    """Bytes that a process has read from and written to storage, all of it; None: not told."""
    with suppress(OSError):
        counts = dict(_BYTES.findall(read_record(f"/proc/{pid}/io")))
        return int(counts[b"read"]), int(counts[b"write"])
    return None, None
