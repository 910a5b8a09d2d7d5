"""Messages on their way, at most one for each destination at a time.

Owns that a destination that hangs keeps neither the others nor the next look waiting: each attempt
is made in a child, which is asked now and then and ended when it takes too long.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from holdfast.late_dataclass import dataclass
from holdfast.policy.memory import Letter
from holdfast.policy.notifications import ATTEMPT_SECONDS, begin_delivery
from holdfast.system.children.errand import Errand


@dataclass(frozen=True)
class _Attempt:
    letter: Letter
    errand: Errand[str]
    ends_at: float
    """Monotonic seconds."""


class Deliveries:
    """Attempts that have begun; for one thread."""

    def __init__(self) -> None:
        self._attempts: dict[str, _Attempt] = {}
        self._dying: list[Errand[str]] = []

    def begin(self, letters: Iterable[Letter]) -> None:
        """Try each of these whose destination is not being told anything. Raises OSError."""
        for letter in letters:
            if letter.url not in self._attempts:
                errand = begin_delivery(letter.url, letter.message)
                ends_at = time.monotonic() + ATTEMPT_SECONDS
                self._attempts[letter.url] = _Attempt(letter, errand, ends_at)

    def finished(self) -> list[tuple[Letter, str]]:
        """Attempts that are over, and why they failed: empty, it has arrived. Does not wait."""
        over = []
        for url, attempt in list(self._attempts.items()):
            answers = attempt.errand.fetch()
            if not answers and not attempt.errand.is_over and time.monotonic() < attempt.ends_at:
                continue
            silent = f"{url} was not told: no answer within {ATTEMPT_SECONDS:g} s"
            if attempt.errand.is_over:
                silent = f"{url} was not told: the process that tried died"
            attempt.errand.end()
            self._dying.append(attempt.errand)
            del self._attempts[url]
            over.append((attempt.letter, answers[0] if answers else silent))
        self._dying = [each for each in self._dying if not each.is_gone()]
        return over

    def errands(self) -> list[Errand[str]]:
        """For poll(2): one of them can be read when its attempt is over."""
        return [attempt.errand for attempt in self._attempts.values()]
