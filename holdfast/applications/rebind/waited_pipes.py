"""Requests of Linux AIO that wait until an end of a FIFO is ready (IOCB_CMD_POLL).

Nobody tells which there are, and no call takes one back without telling the program. Each holds the
old end, and would be told that there is no writer, or no reader, any more when the old ends of the
others are gone. So copies of all are kept until no process has a number of any; then the old pipe
is made ready for whatever such a request may wait for, which ends it with that. To be told once too
often that something can be read or written is what poll(2) says may happen. Invariant: nothing is
taken out of a pipe of which a process may still have an end.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial

from holdfast.applications.rebind.handles.rings import has_context
from holdfast.applications.rebind.parking.parked_nodes import is_parked
from holdfast.applications.rebind.parking.parked_pipes import Notes, by_pipe, ends_of
from holdfast.applications.rebind.parking.stopped_process import Processes, StoppedProcess
from holdfast.errors import HoldfastError
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.fifo import make_ready

_SECONDS = 5.0
"""For what takes some microseconds for each, where the file system of a FIFO answers."""


class WaitedPipes:
    """Old ends of FIFOs that may be waited for so, of one turn in which all are replaced. Use as a
    context: in the end those that nobody has any more are ready once, then all are closed."""

    def __init__(self, processes: Processes) -> None:
        """Take copies, where any of the processes uses Linux AIO: one may have the descriptors of
        another one. Raises OSError when we have no room."""
        self._processes = processes
        self._stack = ExitStack()
        self._pipes: list[tuple[Notes, bool, int]] = []
        """Who has an end, whether it was of a FIFO of ours then, and one of the copies."""
        pipes = by_pipe(processes)
        if not pipes or not any(map(_is_asynchronous, processes.values())):
            return
        with ExitStack() as stack:
            for notes in pipes.values():
                ends = stack.enter_context(ends_of(processes, notes))
                copies = {end.is_parked: end.descriptor for end in ends}
                self._pipes += [(notes, parked, copy) for parked, copy in copies.items()]
            self._stack = stack.pop_all()

    def __enter__(self) -> WaitedPipes:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._make_ready()
        finally:
            self._stack.close()

    def holders(self) -> list[StoppedProcess]:
        """Those that have an end, and have not ended."""
        pids = {process.pid for notes, _, _ in self._pipes for process, _ in notes}
        return [process for pid, process in self._processes.items() if pid in pids]

    def _make_ready(self) -> None:
        """In a child, because they are opened."""
        copies = [copy for notes, was, copy in self._pipes if not self._is_had(notes, was)]
        if copies:
            with suppress(HoldfastError, OSError):
                in_expendable_child(partial(_make_ready, copies), _SECONDS, "FIFOs on the volume")

    def _is_had(self, notes: Notes, parked: bool) -> bool:
        """Whether a process may have an end still, of ours (`parked`) or of the FIFO itself."""
        left_out = [id(notes) for notes, _ in self._processes.uncooperative]
        for process, note in notes:
            if id(process.notes) in left_out:
                return True
            if process.pid in self._processes:
                try:
                    with self._processes.unless_it_ends(process):
                        if is_parked(process, note) == parked:
                            return True
                except OSError:
                    return True
        return False


def _is_asynchronous(process: StoppedProcess) -> bool:
    with suppress(OSError):  # it has ended
        return has_context(process)
    return False


def _make_ready(copies: Sequence[int]) -> None:
    for copy in copies:
        with suppress(OSError):
            make_ready(copy)
