"""A letter that nobody takes keeps none waiting; a destination that is away gets them in order."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.policy.memory import Letter
from holdfast.policy.message import RAISED, Message
from holdfast.policy.turns_of_letters import TRIES_IN_ORDER, LetterTurns

SECONDS = 3600.0


def letter(name: str, url: str = "webhook:https://a/") -> Letter:
    return Letter(Message(name, RAISED, "shop", "", "", 0.0, 0.0, "vm"), url)


class Told:
    """What the daemon does, second by second, to destinations that take what `takes` says."""

    def __init__(self, *names: str) -> None:
        self.letters = [letter(each) for each in names]
        self.turns = LetterTurns()
        self.arrived: list[str] = []
        self.tried = 0
        self.now = 0.0

    def until(self, moment: float, takes: Callable[[str], bool]) -> None:
        while self.now < moment:
            for each in self.turns.next_ones(self.letters, self.now):
                self.tried += 1
                at = self.letters.index(each)
                if takes(each.message.id):
                    self.turns.taken(each, self.letters)
                    self.arrived.append(each.message.id)
                    del self.letters[at]
                else:
                    self.turns.failed(each, self.letters)
                    self.letters[at] = each.failed("refused", self.now)
            self.now += 1.0


def test_one_that_is_refused_keeps_none_waiting() -> None:
    told = Told("bad", "1", "worse", "2", "3")
    told.until(120.0, lambda name: name in "123")
    assert told.arrived == ["1", "2", "3"]
    told.letters.append(letter("4"))
    told.until(130.0, lambda name: name == "4")
    assert told.arrived == ["1", "2", "3", "4"]
    told.until(SECONDS, lambda name: True)
    assert told.arrived[4:] == ["bad", "worse"]


def test_in_order_while_it_is_the_destination_that_fails() -> None:
    for back in (20.0, 45.0, SECONDS):
        told = Told("1", "2", "3", "4")
        told.until(back, lambda name: False)
        assert told.tried < 25
        told.until(back + 2 * 900, lambda name: True)
        assert told.arrived == ["1", "2", "3", "4"], back


def test_destinations_know_nothing_of_each_other() -> None:
    turns, others = LetterTurns(), letter("1", "webhook:https://b/")
    letters = [letter("1"), letter("2"), others]
    assert turns.next_ones(letters, 0.0) == [letters[0], others]
    for _ in range(TRIES_IN_ORDER):
        letters[0] = letters[0].failed("refused", 0.0)
    assert turns.next_ones(letters, 0.0) == letters[1:]
    turns.taken(others, letters)
    turns.failed(letters[1], letters)
    assert turns.next_ones(letters, 0.0) == [others]
