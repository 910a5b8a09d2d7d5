"""The tables of descriptors of a stopped process: passing descriptors into them, and out of them.

A socket pair is made inside the process, and one end taken from there: so a process that dropped
its privileges, or lives in other namespaces, is served like any other. Whatever is read from the
memory of the process is data from a stranger, because its user may write to it: we wait for nothing
here, take nothing but a socket on the word of that memory, and send only what the process is to
have anyway.

Invariant: when the process goes on, its tables hold nothing of ours, and its limit of descriptors
is what it was. Nothing that the process had is closed.
"""

from __future__ import annotations

import array
import errno
import os
import resource
import socket
import struct
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from holdfast.applications.rebind.agent.batch import closing
from holdfast.applications.rebind.agent.steps import Steps, to_end
from holdfast.applications.rebind.tracing.errors import gone
from holdfast.applications.rebind.tracing.threads import Threads
from holdfast.system.proc import descriptor_limit, link, names
from holdfast.system.processes.kcmp import Shared, is_shared
from holdfast.system.processes.process import open_thread, take_descriptor

MOST_AT_ONCE = 253
"""SCM_MAX_FD of include/net/scm.h."""

_MSG_CTRUNC = 0x8
_RECEIVE_FLAGS = 0x40000000 | socket.MSG_DONTWAIT
"""MSG_CMSG_CLOEXEC: the message is there already."""
_SOCKET_TYPE = socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC


class CallableProcess(Protocol):
    """A stopped process that makes system calls for us."""

    pid: int

    @property
    def scratch(self) -> int: ...

    def call(self, name: str, *arguments: int, thread_id: int | None = None) -> int: ...
    def calling(self, name: str, *arguments: int, thread_id: int | None = None) -> Steps[int]: ...
    def read(self, address: int, length: int) -> bytes: ...
    def write(self, address: int, data: bytes) -> None: ...
    def allow_more_descriptors(self) -> bool: ...
    def give_up(self, what: str) -> ProcessLookupError: ...


class DescriptorChannel:
    """Passes descriptors into one table of a stopped process, and takes them out of it."""

    def __init__(self, tracee: CallableProcess, thread_id: int | None) -> None:
        self._target = tracee
        self._thread_id = thread_id
        self.pidfd = open_thread(thread_id or tracee.pid)
        self.inside: tuple[int, ...] = ()
        """Numbers of the socket pair in the process, from the first time that one is needed."""
        self._socket: socket.socket | None = None

    def _connecting(self) -> Steps[socket.socket]:
        if self._socket is None:
            base, thread_id = self._target.scratch, self._thread_id
            arguments = (socket.AF_UNIX, _SOCKET_TYPE, 0, base)
            try:
                yield from self._target.calling("socketpair", *arguments, thread_id=thread_id)
            except OSError as error:
                if error.errno != errno.EMFILE or not self._target.allow_more_descriptors():
                    raise
                self._target.call("socketpair", *arguments, thread_id=thread_id)
            self._socket = self._other_end(struct.unpack("<ii", self._target.read(base, 8)))
        return self._socket

    def _other_end(self, inside: tuple[int, ...]) -> socket.socket:
        """Ours of the pair that the process says it has made. To close a copy of anything but a
        socket might wait for whoever is behind it (close(2))."""
        folder = f"/proc/{self._thread_id or self._target.pid}/fd"
        try:
            if all(link(f"{folder}/{number}").startswith("socket:") for number in inside):
                end = socket.socket(fileno=take_descriptor(self.pidfd, inside[1]))
                if (end.family, end.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET):
                    self.inside = inside
                    return end
                end.close()
        except OSError as error:
            raise self._target.give_up("make a socket pair") from error
        raise self._target.give_up("make a socket pair")

    def take(self, number: int) -> int:
        """A copy of a descriptor of the process for us; the caller closes it. Raises OSError."""
        return take_descriptor(self.pidfd, number)

    def give(self, descriptors: Sequence[int]) -> list[int]:
        """Numbers of these descriptors of ours inside the process, close-on-exec set.

        Raises OSError EMFILE when the process may not have so many.
        """
        return to_end(self.giving(descriptors))

    def giving(self, descriptors: Sequence[int]) -> Steps[list[int]]:
        """As `give`, in steps: with the first of them the first `MOST_AT_ONCE` are on their way."""
        numbers: list[int] = []
        for begin in range(0, len(descriptors), MOST_AT_ONCE):
            numbers += yield from self._giving(descriptors[begin : begin + MOST_AT_ONCE])
        return numbers

    def _giving(self, descriptors: Sequence[int]) -> Steps[list[int]]:
        count = len(descriptors)
        ancillary = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        try:
            ours = yield from self._connecting()
            ours.sendmsg([b"d"], [ancillary], socket.MSG_DONTWAIT)
        except (BlockingIOError, ConnectionError) as error:
            raise self._target.give_up("take descriptors") from error
        base = self._target.scratch
        vector, payload, control = base + 64, base + 96, base + 128
        control_bytes = 16 + (4 * count + 7) // 8 * 8  # struct cmsghdr, then the numbers
        # struct msghdr (64 bits): name, its length, vectors, their number, control, its length
        header = struct.pack("<QQQQQQQ", 0, 0, vector, 1, control, control_bytes, 0)
        self._target.write(base, header.ljust(64, b"\0") + struct.pack("<QQ", payload, 1))
        try:
            yield from self._target.calling(
                "recvmsg", self.inside[0], base, _RECEIVE_FLAGS, thread_id=self._thread_id
            )
        except BlockingIOError as error:  # somebody else has taken it out
            raise self._target.give_up("take descriptors") from error
        answer = self._target.read(base, 128 + control_bytes)
        numbers, complete = received_numbers(answer, count)
        if not complete:
            for number in numbers:
                self._target.call("close", number, thread_id=self._thread_id)
            words = "the process may not have so many descriptors"
            raise OSError(errno.EMFILE, words, f"/proc/{self._target.pid}")
        return numbers

    def closing(self) -> Steps[None]:
        """Close both ends inside and ours."""
        try:
            yield from closing_inside(self._target, self.inside, self._thread_id)
        finally:
            self.forget()

    def forget(self) -> None:
        """Close our end only: the process is gone, or another agent goes on."""
        if self._socket is not None:
            self._socket.close()
        os.close(self.pidfd)


def received_numbers(answer: bytes, most: int) -> tuple[list[int], bool]:
    """Which descriptors recvmsg(2) says it received, and whether they are all of so many. Pure.

    `answer`: struct msghdr, and struct cmsghdr with the numbers at 128. They lay in memory that
    others may write: what they say is bounded by what was sent.
    """
    if len(answer) < 144:
        return [], False
    received_bytes, flags = struct.unpack_from("<Qi", answer, 40)
    length = struct.unpack_from("<Q", answer, 128)[0] - 16 if received_bytes >= 16 else 0
    count = min(max(0, length) // 4, most, (len(answer) - 144) // 4)
    numbers = [each for each in struct.unpack_from(f"<{count}i", answer, 144) if each >= 0]
    return numbers, not flags & _MSG_CTRUNC and len(numbers) == most


def closing_inside(
    process: CallableProcess, numbers: Iterable[int], thread_id: int | None
) -> Steps[None]:
    """Close descriptors inside; those in a row with one call. An error is of what was written to
    one: it is closed, close(2)."""
    for name, arguments in closing(numbers):
        try:
            yield from process.calling(name, *arguments, thread_id=thread_id)
        except ProcessLookupError:
            raise
        except OSError:
            pass


class DescriptorTables:
    """All tables of one process: threads may have their own (clone(2) without CLONE_FILES)."""

    def __init__(self, process: CallableProcess) -> None:
        self._process = process
        self._channels: dict[int | None, DescriptorChannel] = {}
        self._limit = (0, 0)
        self._before: dict[int, set[int]] = {}
        """Numbers in each table when the process stopped, by a thread that uses it."""

    def look(self, threads: Threads) -> None:
        """Keep in mind what is there: whatever comes later is ours. Raises OSError."""
        executor = threads.executor
        for thread_id in threads.registers:
            if thread_id == executor or not is_shared(Shared.DESCRIPTORS, executor, thread_id):
                self._before[thread_id] = _numbers(self._process.pid, thread_id)
        self._limit = self._limit_now()

    def channel(self, thread_id: int | None) -> DescriptorChannel:
        """The channel into the process's (or a thread's own) table."""
        if thread_id not in self._channels:
            self._channels[thread_id] = DescriptorChannel(self._process, thread_id)
        return self._channels[thread_id]

    def allow_more(self) -> bool:
        """Raise the soft limit of descriptors until `clear`; whether it could be."""
        soft, hard = self._limit
        if soft == hard:
            return False
        self._set_limit(hard, hard)
        return True

    def _limit_now(self) -> tuple[int, int]:
        try:
            return descriptor_limit(self._process.pid)
        except FileNotFoundError as error:
            raise gone(self._process.pid) from error

    def _set_limit(self, soft: int, hard: int) -> None:
        """Let the process set its own limit: root may not change others' limits everywhere."""
        process = self._process
        process.write(process.scratch, struct.pack("<QQ", soft, hard))
        process.call("prlimit64", 0, resource.RLIMIT_NOFILE, process.scratch, 0)

    def clearing(self) -> Steps[None]:
        """Close whatever was opened inside for us, and put the limit back."""
        while self._channels:
            yield from self._channels.popitem()[1].closing()
        for thread_id, before in self._before.items():
            # Nobody else could open any while all threads stood.
            left = _numbers(self._process.pid, thread_id) - before
            yield from closing_inside(self._process, left, thread_id)
        if self._limit_now() != self._limit:
            self._set_limit(*self._limit)

    def forget(self) -> None:
        """Close our ends only. Idempotent."""
        for channel in self._channels.values():
            channel.forget()
        self._channels.clear()

    @property
    def limit(self) -> tuple[int, int]:
        """How many descriptors the process might have when it stopped: soft and hard limit."""
        return self._limit

    def before(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """The numbers in each table when the process stopped, by a thread that uses it."""
        return tuple((each, tuple(sorted(numbers))) for each, numbers in self._before.items())

    def recall(
        self,
        limit: tuple[int, int],
        before: Iterable[tuple[int, Iterable[int]]],
        thread_ids: Collection[int],
    ) -> None:
        """Know what the agent before us knew, of the threads that are still there."""
        self._limit = limit
        self._before = {each: set(numbers) for each, numbers in before if each in thread_ids}


def _numbers(pid: int, thread_id: int) -> set[int]:
    """Numbers of the descriptors that a thread can use. Empty when it has ended."""
    with suppress(OSError):
        return {int(name) for name in names(f"/proc/{pid}/task/{thread_id}/fd")}
    return set()
