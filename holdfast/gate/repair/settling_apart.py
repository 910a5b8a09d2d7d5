"""Making the epoch durable on threads that can be lost, for whoever must go on afterwards.

A leg that is taken in is in use before the epoch with it is durable: whoever was given up in
between, in a leg or in the state directory, would leave it half joined. So it does not go there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from holdfast.errors import DeadlinePassed
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.task import LegTask
from holdfast.gate.runtime.claims import Hand

Result = TypeVar("Result")


def settle_apart(mirror: Mirror) -> None:
    """As Settling.settle_or_raise, by threads of its own."""
    _apart(mirror, mirror.settling.settle_or_raise)


def settle_or_hold_apart(mirror: Mirror) -> bool:
    """As Reflexes.settle, by threads of its own."""
    return _apart(mirror, mirror.reflexes.settle)


def _apart(mirror: Mirror, settle: Callable[[Hand], Result]) -> Result:
    """A thread that hangs is given up, and what it hangs in (a leg, the state directory) is done
    without by the next. Blocks for some hang time-outs."""
    while True:
        try:
            return LegTask(mirror.hands, settle).result_unless_given_up()
        except DeadlinePassed:
            continue
