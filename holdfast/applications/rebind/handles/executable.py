"""The program that a process runs: /proc/PID/exe keeps its file busy after all maps are gone.

PR_SET_MM_MAP (prctl(2)) changes it, for whoever may checkpoint processes in his own user namespace.
A process without that right gets a child for an instant that shares its memory and has every right
in a user namespace of its own; that works where user namespaces are allowed, and not in a chroot.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.agent.borrowed_rights import prctl_with_every_right
from holdfast.applications.rebind.handles.process_traits import ProcessTraits, gather
from holdfast.applications.rebind.handles.verdicts import blocks, moved, recreated
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import Expected, OpenedFiles, OpenRequest
from holdfast.applications.rebind.parking.notes import ExecutableDetails, HandleNote
from holdfast.applications.rebind.parking.placeholders import MEMORY_LINK, Placeholders
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.errors import Blocked
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle
from holdfast.system.proc import link, read
from holdfast.system.proc_text import parse_stat

_PR_SET_MM, _PR_SET_MM_MAP = 35, 14  # include/uapi/linux/prctl.h
_MEMORY_MAP = struct.Struct("=11QQIi")
"""struct prctl_mm_map: eleven addresses, auxv, auxv_size, exe_fd."""

_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")


class ExecutableDriver:
    """The program of a process."""

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        if not facts.may_change_program:
            if facts.chrooted:
                return blocks(handle, "runs a program of the volume in a chroot, without privilege")
            if _NAMESPACES.read_text().strip() == "0":
                return blocks(
                    handle,
                    "its program can be moved in a user namespace only, and this host allows none",
                )
        if handle.deleted:
            return recreated(handle, "has no name any more: its contents are carried over")
        return moved(handle, facts)

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        """Tries the way without changing anything: setting what is set already."""
        values = _values(process)
        privileged = gather(process.pid).may_change_program
        try:
            _set(process, values, -1, privileged=privileged)
        except OSError as error:
            raise Blocked(
                f"process {process.pid} ({process.name}) runs {handles[0].path}, and the"
                f" kernel does not let it change that: {error.strerror}",
                "End this process, or give it CAP_CHECKPOINT_RESTORE.",
            ) from error
        return [{"values": values, "privileged": privileged} for _ in handles]

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> None:
        for note in notes:
            _change(process, note, placeholders.program)

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        return [
            OpenRequest(
                key=note.details.key,
                mount_id=note.handle.mount_id,
                path=note.details.inside,
                flags=os.O_RDONLY,
                expected=Expected.FILE,
                contents=note.details.contents,
                deleted=note.handle.deleted,
                before=note.details.before,
            )
        ]

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> list[ReboundHandle]:
        lines = []
        for note in notes:
            opened = openings[note.details.key]
            line = ReboundHandle(note.handle, opened.outcome, opened.note)
            if opened.descriptor is not None:
                try:
                    _change(process, note, opened.descriptor)
                except OSError as error:
                    words = f"it is not the process's program any more: {error.strerror}"
                    line = ReboundHandle(note.handle, HandleOutcome.LOST, words)
            lines.append(line)
        return lines

    def is_parked(self, process: StoppedProcess, note: HandleNote) -> bool:
        """Whether /proc/PID/exe is the placeholder."""
        return link(f"/proc/{process.pid}/exe") == MEMORY_LINK


def _change(process: StoppedProcess, note: HandleNote, program: int) -> None:
    number = process.tracee.give(program)
    try:
        details = note.details_as(ExecutableDetails)
        _set(process, details.values, number, privileged=details.privileged)
    finally:
        process.tracee.call("close", number)


def _values(process: StoppedProcess) -> tuple[int, ...]:
    """The addresses of struct prctl_mm_map in its order, as they are."""
    fields = parse_stat(read(f"/proc/{process.pid}/stat")).fields
    stat = {number: int(value) for number, value in enumerate(fields[1:], start=4)}
    start_brk = stat[47]
    brk = process.tracee.call("brk", 0)
    return (
        *(stat[26], stat[27]),  # start_code, end_code: proc_pid_stat(5)
        *(stat[45], stat[46]),  # start_data, end_data
        *(start_brk, max(brk, start_brk)),
        stat[28],  # start_stack
        *(stat[48], stat[49], stat[50], stat[51]),  # arg_start … env_end
    )


def _set(process: StoppedProcess, values: Sequence[int], number: int, *, privileged: bool) -> None:
    """Set the addresses, and the program with this descriptor of the process (-1: not that)."""
    tracee = process.tracee
    address = tracee.scratch + 512
    tracee.write(address, _MEMORY_MAP.pack(*values, 0, 0, number))
    arguments = (_PR_SET_MM, _PR_SET_MM_MAP, address, _MEMORY_MAP.size, 0)
    if privileged:
        tracee.call("prctl", *arguments)
    else:
        prctl_with_every_right(tracee, arguments)
