"""A process as a whole: who it is, what it runs, what it read and wrote.

Nothing here touches storage; the command line is read in an expendable child, because it lies in
the memory of a process that may hang.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from holdfast.applications.identity import application_of
from holdfast.applications.tasks import Table, thread_ids
from holdfast.model.handle import Handle, User
from holdfast.system.expendable_batch import ask_each
from holdfast.system.proc import ProcessFacts, process_facts, process_ids, read

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


def commands(tables: Sequence[Table]) -> list[str]:
    """Command lines, arguments separated by blanks; empty where the process does not answer."""
    return [answer or "" for answer in ask_each(_command, tables)]


def _command(table: Table) -> str:
    """In an expendable child."""
    return os.fsdecode(read(f"{table.folder}/cmdline").rstrip(b"\0").replace(b"\0", b" "))


def as_user(
    facts: ProcessFacts, table: Table, command: str, handles: Sequence[Handle]
) -> User | None:
    """The process with its handles; None when it has ended, or its number is another's now."""
    try:
        now = process_facts(facts.pid)
        if now.start_time != facts.start_time:
            return None
        owner = _EFFECTIVE_USER.search(read(f"/proc/{facts.pid}/status"))
        read_bytes, written_bytes = transferred(facts.pid)
        return User(
            pid=facts.pid,
            start_time=facts.start_time,
            name=now.name,
            command=command or now.name,
            user_id=int(owner[1]) if owner else 0,
            application=application_of(facts.pid, command or now.name),
            threads=tuple(thread_ids(facts.pid)),
            mount_namespace=table.namespace,
            handles=tuple(handles),
            state=now.state,
            read_bytes=read_bytes,
            written_bytes=written_bytes,
        )
    except OSError:
        return None


def transferred(pid: int) -> tuple[int | None, int | None]:
    """Bytes that a process has read from and written to storage, all of it; None: not told."""
    with suppress(OSError):
        counts = dict(_BYTES.findall(read(f"/proc/{pid}/io")))
        return int(counts[b"read"]), int(counts[b"write"])
    return None, None
