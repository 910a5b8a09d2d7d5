"""The gate's control socket: one request and one reply per connection, as lines of JSON.

Root only: the socket lies in a directory of root's, and the kernel is asked who connects.
"""

from __future__ import annotations

import json
import socket
import struct
from contextlib import suppress
from time import monotonic
from typing import Any

from holdfast.errors import HoldfastError, MissingRights
from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.task import LegTask
from holdfast.gate.processes.control.request import parse, read_line
from holdfast.gate.processes.control.verbs import Verbs
from holdfast.gate.runtime.claims import GivenUp, Hand, Hands

CONVERSATIONS = 16
"""Connections served at once. Each has a hand, of which the serving threads need some as well."""

PAUSE_SECONDS = 0.1
"""Pause before the next attempt when this process has no room for another connection."""

REPLY_SECONDS = 5.0
"""To a reader that is slow."""

_HANGS = {
    "ok": False,
    "code": "TIMEOUT",
    "message": "the storage does not answer",
    "mend": "See why it hangs.",
}
"""The reply to a request whose hand was given up."""

_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7), SO_PEERCRED)


class Control:
    """Connections to one worker. Each has a thread, with a hand."""

    def __init__(self, hands: Hands, verbs: Verbs) -> None:
        self._hands = hands
        self._verbs = verbs
        self._tasks: list[LegTask[None]] = []
        self._unanswered: dict[Hand, socket.socket] = {}
        """Connections by the hand that serves them."""
        self._not_before = 0.0

    def has_room(self) -> bool:
        """Whether another connection would be taken now; others wait in the kernel's queue."""
        self._tasks = [task for task in self._tasks if task.is_alive()]
        return len(self._tasks) < CONVERSATIONS and monotonic() >= self._not_before

    def accept(self, listener: socket.socket) -> None:
        """Take the connections that wait, as many as there is room for; never blocks."""
        while self.has_room():
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError:
                self._not_before = monotonic() + PAUSE_SECONDS
                return
            try:
                task = LegTask(
                    self._hands,
                    lambda hand, connection=connection: self._converse(hand, connection),  # type: ignore[misc]
                    awaited=False,
                )
            except RuntimeError:  # no room for a thread: it may ask again
                connection.close()
                self._not_before = monotonic() + PAUSE_SECONDS
                return
            self._tasks.append(task)

    def finish(self) -> None:
        """Let replies that are under way leave."""
        deadline = monotonic() + 2.0
        for task in self._tasks:
            task.join(max(0.0, deadline - monotonic()))

    def given_up(self, hand: Hand) -> None:
        """A hand hangs inside storage: tell whoever asked it for something."""
        connection = self._unanswered.pop(hand, None)
        if connection is not None:
            with suppress(OSError):
                connection.sendall(json.dumps(_HANGS).encode() + b"\n")
                connection.shutdown(socket.SHUT_RDWR)

    def _converse(self, hand: Hand, connection: socket.socket) -> None:
        """Answer one request.

        An exception that neither a refusal nor storage causes is a defect: the request is answered,
        and then the exception ends the worker, because what it left half done in memory is gone
        with it.
        """
        with connection:
            self._unanswered[hand] = connection
            reply = _refusal("COMMAND", "the gate met a defect of its own", "See gate.log.")
            try:
                reply = self._answer(hand, connection)
            except GivenUp:  # `given_up` says so, or we do if we are first
                reply = _HANGS
            finally:
                if self._unanswered.pop(hand, None) is not None:
                    with suppress(OSError):  # it does not wait for an answer
                        connection.settimeout(REPLY_SECONDS)
                        connection.sendall(json.dumps(reply).encode() + b"\n")

    def _answer(self, hand: Hand, connection: socket.socket) -> dict[str, Any]:
        try:
            credentials = connection.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
            )
            if _CREDENTIALS.unpack(credentials)[1] != 0:
                raise MissingRights("only root may talk to a gate", "Use root.")
            verb, arguments = parse(read_line(connection))
            return {"ok": True, "result": getattr(self._verbs, verb)(hand, **arguments)}
        except HoldfastError as error:
            return _refusal(error.code, error.message, error.mend)
        except HoldExpired:
            return _refusal("NOSOURCE", "no leg is left, past the deadline", "Bring one back.")
        except TimeoutError as error:
            return _refusal("TIMEOUT", str(error), "")
        except OSError as error:
            return _refusal("IO", str(error), "See the kernel's log for the storage below.")


def _refusal(code: str, message: str, mend: str) -> dict[str, Any]:
    return {"ok": False, "code": code, "message": message, "mend": mend}
