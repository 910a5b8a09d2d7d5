"""Whether the legs in use can still be found by their names.

A container that is open goes on working when its name is removed, renamed or given to another, and
is gone, with all that is in it, when the gate ends. So a child of the keeper looks once a second
(see channel.Look), and this decides. Invariant: a leg without a name is failed only while another
leg in sync was seen under its own name in the same look; otherwise it stays in use, its descriptor
is kept by the keeper too, and everybody is told. Must never touch storage.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from time import monotonic
from typing import Any

from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.task import LegTask
from holdfast.model.volume import LegState
from holdfast.system.processes.process import close_quietly

LOOK_SECONDS = 1.0
"""How often names are looked at: what was lost for so long costs one more command to notice."""

_PATIENCE = 4.0
"""A look that has not been answered after so many time-outs was lost with the keeper."""


def to_be_failed(
    in_sync: Collection[int], filling: Collection[int], seen: Mapping[int, str]
) -> set[int]:
    """Which legs that lost their names are failed. Pure.

    `seen`: what is wrong with the name of each leg that could be looked at, empty: nothing. The
    last data is never given up for a name.
    """
    lost = {number for number in (*in_sync, *filling) if seen.get(number)}
    safe = any(seen.get(number) == "" for number in in_sync)
    return lost if safe else lost & set(filling)


class Names:
    """The looks of one worker. `ask` sends a message to the keeper."""

    def __init__(self, mirror: Mirror, ask: Callable[[dict[str, Any]], bool]) -> None:
        self._mirror = mirror
        self._roster = mirror.roster
        self._ask = ask
        self._due = monotonic() + LOOK_SECONDS
        self._asked_at = float("-inf")
        self._round = 0
        self._answered = threading.Condition()
        self._answered_round = 0
        self._kept: set[int] = set()
        """Legs of which the keeper was asked to hold on to the container."""

    def tick(self) -> float:
        """Have the keeper look when it is due; seconds until the next time."""
        now = monotonic()
        patience = _PATIENCE * self._roster.configuration.hang_timeout_seconds
        waiting = self._round != self._answered_round and now < self._asked_at + patience
        if waiting or now < self._due:
            return LOOK_SECONDS if waiting else max(0.01, self._due - now)
        self._due = now + LOOK_SECONDS
        legs = [
            [leg.number, leg.url, leg.identity, leg.descriptor]
            for leg in self._roster.writers
            if leg.descriptor >= 0  # otherwise it is not found by a name of this host
        ]
        self._asked_at = now
        with self._answered:
            self._round += 1
            if not legs:
                self._answered_round = self._round
                self._answered.notify_all()
                return LOOK_SECONDS
        timeout = self._roster.configuration.hang_timeout_seconds
        if not self._ask({"look": self._round, "legs": legs, "timeout_seconds": timeout}):
            self._asked_at = float("-inf")
        return LOOK_SECONDS

    def looked(self, answer: dict[str, Any]) -> None:
        """Act on what a look has found."""
        if answer["look"] != self._round:
            return
        seen = {
            int(number): str(words)
            for number, words in answer["seen"].items()
            if words is not None  # storage that does not say is no reason to give it up
        }
        self._act(seen)
        with self._answered:
            self._answered_round = self._round
            self._answered.notify_all()

    def look_again(self) -> None:
        """Wait for a look that begins after this call; at most twice the hang time-out."""
        timeout_seconds = 2 * self._roster.configuration.hang_timeout_seconds
        with self._answered:
            wanted = self._round + 1
            self._due = 0.0
            self._mirror.wake()
            self._answered.wait_for(lambda: self._answered_round >= wanted, timeout_seconds)

    def took_over(self, kept: Mapping[int, int]) -> None:
        """Go on with the legs that the keeper kept for this worker; let go of all others."""
        self._roster.set_nameless(dict.fromkeys(kept, "its name was lost"))
        for number in kept.keys() - self._roster.nameless.keys():
            self._ask({"let_go": number})
        self._kept = set(self._roster.nameless)
        close = threading.Thread(target=_close, args=(list(kept.values()),), daemon=True)
        close.start()  # may hang where storage hangs

    def keeper_changed(self) -> None:
        """Another keeper: it keeps nothing yet, and knows of no question."""
        self._asked_at = float("-inf")
        for number in self._roster.nameless:
            self._keep(number)

    def _act(self, seen: Mapping[int, str]) -> None:
        roster = self._roster
        present = dict(roster.present)
        in_sync = [leg.number for leg in roster.readers]
        filling = [leg.number for leg in roster.writers if leg.state is LegState.RESYNCING]
        failing = to_be_failed(in_sync, filling, seen)
        for number in failing:
            if number in present:
                roster.fail(present[number], seen[number], unless_last=True)
        if failing:
            LegTask(self._mirror.hands, self._mirror.settling.settle, awaited=False)
        before = roster.nameless
        away = {number: words for number, words in before.items() if number not in present}
        kept = away | {
            number: seen.get(number, before.get(number, ""))
            for number in in_sync
            if number not in failing
        }
        roster.set_nameless({number: words for number, words in kept.items() if words})
        for number in self._kept - roster.nameless.keys():
            self._ask({"let_go": number})
        for number in roster.nameless.keys() - self._kept:
            self._keep(number)
            self._tell(number)
        self._kept = set(roster.nameless)
        if before.keys() != roster.nameless.keys():
            self._mirror.wake()

    def _keep(self, number: int) -> None:
        leg = self._roster.present.get(number)
        if leg is not None:
            self._ask({"keep": number, "descriptor": leg.descriptor})

    def _tell(self, number: int) -> None:
        """A receipt at once: what is written down must not wait for a request."""
        reason = self._roster.nameless.get(number, "")
        incident = self._mirror.incidents.begin("name", f"leg {number}: {reason}")
        incident.step(f"leg {number} lost its name", reason)
        incident.resolve("continued: no other leg has the data, which ends with the gate")


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        close_quietly(descriptor)
