"""The keeper's part in watching the names of legs: a child looks, and what has no name is kept.

The keeper itself touches no container: it lends a child to look at names, once a second and cheaply
(see names), and holds descriptors that it never uses, of containers that would end with their last
one. A child that hangs is given up, and its leg left out until that child has ended.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import threading
from contextlib import suppress
from time import monotonic
from typing import Any

from holdfast.containers import open_container, path_of
from holdfast.containers.back_end import identity_of
from holdfast.gate.processes.channel import send_descriptor
from holdfast.system.processes.process import (
    close_all_except,
    close_quietly,
    fork_reporting,
    take_descriptor,
)

_MESSAGE_BYTES = 1 << 16

KEPT = "kept:"
"""Begins the name of the message that gives a container back to the worker; the leg's number
follows."""


class Look:
    """A child that looks whether the legs in use are still found by their names.

    It answers leg by leg, so that one that hangs costs only its own answer. Forgotten like a probe.
    """

    def __init__(self, message: dict[str, Any], worker_pid: int, hanging: set[int]) -> None:
        self.round: int = message["look"]
        self.legs = [leg for leg in message["legs"] if leg[0] not in hanging]
        self.deadline = monotonic() + message["timeout_seconds"]
        self._data = b""
        self.pid, self.pipe = fork_reporting(
            lambda pipe: _look_at_names(self.legs, worker_pid, pipe), os.O_NONBLOCK
        )

    def answer(self) -> dict[str, Any] | None:
        """What was seen of each leg that could be looked at, or None: wait."""
        try:
            part = os.read(self.pipe, _MESSAGE_BYTES)
        except BlockingIOError:
            if monotonic() < self.deadline:
                return None
            os.kill(self.pid, signal.SIGKILL)
            part = b""
        if part:
            self._data += part
            return None
        lines = self._data.split(b"\n")[: len(self.legs)]
        pairs = [json.loads(line) for line in lines if line.endswith(b"]")]
        return {"look": self.round, "seen": {str(number): words for number, words in pairs}}

    @property
    def hangs_in(self) -> int:
        """The leg whose answer is missing first, 0: none."""
        answered = self._data.count(b"\n")
        return self.legs[answered][0] if answered < len(self.legs) else 0

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self.pipe)


class Lookout:
    """One keeper's looks, at most one at a time, and what it keeps for the next worker."""

    def __init__(self) -> None:
        self.looks: tuple[Look, ...] = ()
        self.kept: dict[int, int] = {}
        """Descriptors by leg."""

    def begin(self, message: dict[str, Any], worker_pid: int, unburied: dict[int, int]) -> bool:
        """Look at the names of legs, but not of one where an earlier child hangs.

        False when there is no room for a child: nothing will be seen.
        """
        if not self.looks:
            try:
                look = Look(message, worker_pid, set(unburied.values()))
            except OSError:
                return False
            self.looks = (look,)
            unburied[look.pid] = 0
        return True

    def answer(self, unburied: dict[int, int]) -> dict[str, Any] | None:
        """What was seen, when the child has ended or was given up."""
        for look in self.looks:
            answer = look.answer()
            if answer is not None:
                if look.hangs_in and look.pid in unburied:
                    unburied[look.pid] = look.hangs_in
                look.close()
                self.looks = ()
                return answer
        return None

    def keep(self, number: int, worker: int | None, descriptor: int) -> None:
        """Hold on to a container of the worker that this pidfd names."""
        if worker is not None:
            with suppress(OSError):  # it has just died, or may not be asked: nothing to keep
                kept = take_descriptor(worker, descriptor)
                self.let_go(number)
                self.kept[number] = kept

    def give_back(self, number: int, channel: socket.socket) -> bool:
        """Send the worker what is kept of a leg that it looks for; False: nothing is."""
        kept = self.kept.get(number)
        return kept is not None and send_descriptor(channel, f"{KEPT}{number}", kept)

    def let_go(self, number: int) -> None:
        """The leg has left, or its name is back. Closing may hang with its storage: elsewhere."""
        if number in self.kept:
            descriptor = self.kept.pop(number)
            threading.Thread(target=close_quietly, args=(descriptor,), daemon=True).start()


def _look_at_names(legs: list[list[Any]], worker_pid: int, pipe: int) -> None:
    """The child: one line for each leg."""
    close_all_except({pipe})
    for number, url, identity, descriptor in legs:
        try:
            words = lost_name(url, identity, f"/proc/{worker_pid}/fd/{descriptor}")
        except OSError:
            words = None  # it cannot be said
        os.write(pipe, json.dumps([number, words]).encode() + b"\n")


def lost_name(url: str, identity: int, in_use: str) -> str:
    """Why this container in use is not found by its name any more, empty: it is. Blocks as storage.

    `in_use`: where /proc shows the descriptor of whoever uses it. Raises OSError where nobody can
    say.
    """
    path, what = path_of(url), f"its {open_container(url).traits.noun}"
    taken = ""
    try:
        if identity_of(os.stat(path)) == identity:  # noqa: PTH116 - a plain system call
            return ""
        taken = ", and another one has its name"
    except (FileNotFoundError, NotADirectoryError):
        pass
    status = os.stat(in_use)  # noqa: PTH116
    if identity_of(status) != identity:
        raise OSError(errno.ESTALE, "the worker uses another container by now", in_use)
    if not status.st_nlink:
        return f"{what} was deleted{taken}"
    now = os.readlink(in_use)  # noqa: PTH115
    with suppress(OSError):
        if identity_of(os.stat(now)) == identity:  # noqa: PTH116
            return f"{what} is {now} now{taken}"
    return f"{what} is not reached by its name any more: a file system was unmounted{taken}"
