"""One piece of work on legs that somebody waits for, on a thread that can be given up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from holdfast.errors import DeadlinePassed, HoldfastError
from holdfast.gate.attended import GivenUp, Hand, Hands
from holdfast.gate.hold import HoldExpired

Result = TypeVar("Result")

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
