"""Work on legs on threads that can be given up: one piece that is waited for, or rounds of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from holdfast.errors import DeadlinePassed, HoldfastError
from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.runtime.claims import GivenUp, Hand, Hands
from holdfast.gate.runtime.watching import Watching

Result = TypeVar("Result")

_ROUND_SECONDS = 0.05
"""How soon it is seen, at the latest, that a thread was given up, which may never end."""

_POLL_SECONDS = 0.01
"""The same, while requests wait for it."""

_EXPECTED = (GivenUp, HoldExpired, HoldfastError, OSError)
"""What storage, a deadline, or what an administrator wants can bring about."""


class LegTask(threading.Thread, Generic[Result]):
    """Runs `function(hand)`; the watchdog sees the hand like any other.

    `awaited`: somebody asks for the result. Otherwise what storage or an administrator can cause is
    dropped, and anything else is a defect, left to threading.excepthook. Raises RuntimeError when
    there is no room for a thread.
    """

    def __init__(
        self, hands: Hands, function: Callable[[Hand], Result], *, awaited: bool = True
    ) -> None:
        super().__init__(name="leg-task", daemon=True)
        self._hands = hands
        self._function = function
        self._awaited = awaited
        self._result: Result | None = None
        self._error: BaseException | None = None
        self.hand = hands.take()
        try:
            self.start()
        except BaseException:
            hands.put_back(self.hand)
            raise

    def run(self) -> None:
        try:
            self._result = self._function(self.hand)
        except BaseException as error:  # handed to whoever waits
            self._error = error
            if not self._awaited and not isinstance(error, _EXPECTED):
                raise
        finally:
            self._hands.put_back(self.hand)

    @property
    def at_work(self) -> bool:
        """Whether anything is to be expected of it: a thread that was given up does no more."""
        return self.is_alive() and not self.hand.given_up

    def result_while_looking(self, watching: Watching, look: Callable[[], object]) -> Result:
        """As `result`, while this thread is the observer: it comes round with `look`.

        Raises DeadlinePassed when that gave the task up: its thread may hang for ever.
        """
        while self.at_work:
            look()
            self.join(min(_ROUND_SECONDS, watching.round_seconds))
        return self.result(0.0)

    def result_unless_given_up(self) -> Result:
        """As `result`, for a thread that is not the observer: it waits for the end, or until the
        observer gives the task up, which raises DeadlinePassed."""
        while self.at_work:
            self.join(_POLL_SECONDS)
        return self.result(0.0)

    def result(self, timeout_seconds: float | None = None) -> Result:
        """Wait for the end; what the function returned or raised.

        Raises DeadlinePassed when it takes longer, or was given up inside a leg that hangs.
        """
        self.join(timeout_seconds)
        if self.is_alive() or isinstance(self._error, GivenUp):
            raise DeadlinePassed("the storage does not answer", "See why it hangs; try again.")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


class LegRounds(threading.Thread):
    """Runs `function(hand)` each time it is asked to; its thread and its stack are there already.

    What is done again and again while requests are served must not ask for memory. What fails is
    dropped or is a defect, as in a LegTask that nobody awaits. A round that was given up is at work
    until the storage lets go of it; the next one has another hand.
    """

    def __init__(self, hands: Hands, function: Callable[[Hand], None]) -> None:
        super().__init__(name="leg-rounds", daemon=True)
        self._hands = hands
        self._function = function
        self._wanted = threading.Lock()
        self._wanted.acquire()
        self.at_work = False
        """A round is asked for, or under way, perhaps hanging."""

    def begin(self) -> None:
        """Have the next round done; only while none is at work. Raises RuntimeError as LegTask."""
        self._hand = self._hands.take()
        self.at_work = True
        self._wanted.release()

    def run(self) -> None:
        while True:
            self._wanted.acquire()
            try:
                with suppress(*_EXPECTED):
                    self._function(self._hand)
            finally:
                self._hands.put_back(self._hand)
            self.at_work = False
