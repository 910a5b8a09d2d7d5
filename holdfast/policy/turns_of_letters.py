"""Which letter of each destination is tried next. Pure, but for what it remembers.

Letters arrive in order, so while the oldest waits so do later ones: mostly it is the destination
that fails. A letter that fails while a later one is taken is at fault itself (a body that is
refused, a program that stumbles over it) and keeps nobody waiting from then on. To find that out
the oldest is tried first each time, and one other when that has failed. Nothing is remembered over
the death of the daemon: it is found out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.policy.memory import LONGEST_WAIT_SECONDS, Letter

TRIES_IN_ORDER = 3
"""Of the oldest, before another one is tried: half a minute, in which a destination may begin anew,
and after which somebody would be told too late of what follows."""

_Key = tuple[str, str]


class LetterTurns:
    """For one daemon."""

    def __init__(self) -> None:
        self._at_fault: set[_Key] = set()
        """Letters after which later ones were taken."""
        self._found_failing: dict[str, tuple[_Key, int]] = {}
        """By destination: its oldest letter, and after how many of that one's failures another one
        failed as well."""

    def next_ones(self, letters: Sequence[Letter], now: float) -> list[Letter]:
        """One at most for each destination. `letters`: all of them, oldest first; `now`: Unix
        seconds."""
        self._at_fault &= {_key(each) for each in letters}
        urls = dict.fromkeys(each.url for each in letters)
        found = (self._next([each for each in letters if each.url == url], now) for url in urls)
        return [each for each in found if each is not None]

    def taken(self, letter: Letter, letters: Iterable[Letter]) -> None:
        """It has arrived; `letters`: all of them, with it."""
        for each in letters:
            if _key(each) == _key(letter):
                break
            if each.url == letter.url and each.tries:
                self._at_fault.add(_key(each))

    def failed(self, letter: Letter, letters: Iterable[Letter]) -> None:
        """It has not; `letters`: all of them, as they were before that."""
        oldest = next(
            iter(self._in_order(each for each in letters if each.url == letter.url)), None
        )
        if oldest is not None and _key(oldest) != _key(letter):
            self._found_failing[letter.url] = _key(oldest), oldest.tries

    def _next(self, letters: Sequence[Letter], now: float) -> Letter | None:
        """Of one destination."""
        due = [each for each in letters if _is_due(each, now)]
        waiting = self._in_order(letters)
        if waiting:
            oldest = waiting[0]
            if oldest in due:
                return oldest
            others = [each for each in waiting[1:] if each in due]
            known = self._found_failing.get(oldest.url) == (_key(oldest), oldest.tries)
            if others and oldest.tries >= TRIES_IN_ORDER and not known:
                return min(others, key=lambda each: each.tries)
        return next((each for each in due if _key(each) in self._at_fault), None)

    def _in_order(self, letters: Iterable[Letter]) -> list[Letter]:
        """Those that are not at fault."""
        return [each for each in letters if _key(each) not in self._at_fault]


def _key(letter: Letter) -> _Key:
    return letter.message.id, letter.url


def _is_due(letter: Letter, now: float) -> bool:
    """Also when the clock was set back: no wait is longer than the longest."""
    return not 0 < letter.due - now <= LONGEST_WAIT_SECONDS
