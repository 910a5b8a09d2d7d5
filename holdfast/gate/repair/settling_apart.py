"""Making the epoch durable on threads that can be lost, for whoever must go on afterwards.

A leg that is taken in is in use before the epoch with it is durable: whoever was given up in
between, in a leg or in the state directory, would leave it half joined. So it does not go there.
"""

from __future__ import annotations

from holdfast.errors import DeadlinePassed
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.task import LegTask


def settle_apart(mirror: Mirror) -> None:
    """As Settling.settle_or_raise, by threads of its own: one that hangs is given up, and what it
    hangs in (a leg, the state directory) is done without by the next. Blocks for some hang
    time-outs."""
    while True:
        try:
            LegTask(mirror.hands, mirror.settling.settle_or_raise).followed()
            return
        except DeadlinePassed:
            continue
