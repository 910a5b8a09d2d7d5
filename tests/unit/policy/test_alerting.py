"""When somebody is told: once, again after a day, at the end; and never a flood."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.trouble import Trouble
from holdfast.policy.alerting import (
    QUIET_SECONDS,
    REMIND_SECONDS,
    SETTLE_SECONDS,
    KnownTrouble,
    decide,
)

LEG = Trouble("shop", "leg 1 is failed", "holdfast leg replace shop 1 URL", "leg 1")
FULL = Trouble("shop", "its file system is full", "", "state")


class Story:
    """Looks, one after the other, and what was said at which."""

    def __init__(self) -> None:
        self.known: tuple[KnownTrouble, ...] = ()
        self.said: list[tuple[float, str, str]] = []

    def look(self, now: float, *troubles: Trouble) -> list[str]:
        """What is said at this look."""
        self.known, said = decide(self.known, troubles, now)
        new = [(now, each.kind, each.standing.about) for each in said]
        self.said += new
        return [kind for _, kind, _ in new]


def test_told_when_it_has_stood_and_when_it_is_over() -> None:
    story = Story()
    assert story.look(100, LEG) == []
    assert story.look(102, LEG) == []
    assert story.look(103, LEG) == ["raised"]
    assert story.look(104, LEG) == []
    assert story.look(200) == []
    assert story.look(203) == ["ended"]
    assert story.look(204) == []
    assert story.look(204 + QUIET_SECONDS) == []
    assert story.known == ()


def test_what_is_over_at_once_is_told_to_nobody() -> None:
    story = Story()
    story.look(100, LEG)
    story.look(101)
    assert story.look(104, LEG) == [] and story.look(106, LEG) == []
    assert story.look(107, LEG) == ["raised"]


def test_reminded_once_a_day() -> None:
    story = Story()
    story.look(0, LEG)
    story.look(3, LEG)
    assert story.look(3 + REMIND_SECONDS - 1, LEG) == []
    assert story.look(3 + REMIND_SECONDS, LEG) == ["reminded"]
    assert story.look(4 + REMIND_SECONDS, LEG) == []


def test_words_may_change() -> None:
    story = Story()
    for now, percent in enumerate((1, 2, 3, 4)):
        story.look(now, Trouble("shop", f"leg 1: {percent} %", "", "leg 1"))
    assert len(story.said) == 1
    assert story.known[0].words == "leg 1: 4 %"


def test_each_by_itself() -> None:
    story = Story()
    story.look(0, LEG, FULL)
    story.look(3, LEG, FULL)
    story.look(10, FULL)
    story.look(13, FULL)
    assert [(kind, about) for _, kind, about in story.said] == [
        ("raised", "leg 1"), ("raised", "state"), ("ended", "leg 1"),
    ]  # fmt: skip


def test_what_gets_worse_is_told_again_once() -> None:
    story, worse = Story(), Trouble("shop", "it is read-only", "", "room")
    nearly = Trouble("shop", "nearly full", "", "room", grave=False)
    story.look(0, nearly)
    assert story.look(3, nearly) == ["raised"]
    assert story.look(5, worse) == ["raised"]
    assert story.look(6, nearly) == [] and story.look(7, worse) == []
    story.look(8)
    assert story.look(11) == ["ended"]
    story.look(12, nearly)
    assert story.look(11 + QUIET_SECONDS, worse) == ["raised"]
    assert story.look(12 + QUIET_SECONDS, worse) == []


def test_a_clock_that_is_set_back_keeps_nobody_waiting() -> None:
    story = Story()
    story.look(1_000_000, LEG)
    story.look(1_000_003, LEG)
    story.look(500, LEG)
    assert story.look(500 + REMIND_SECONDS, LEG) == ["reminded"]


@given(st.lists(st.tuples(st.floats(0.5, 400), st.booleans()), max_size=60))
def test_never_a_flood_and_never_silence(looks: list[tuple[float, bool]]) -> None:
    story, now, since, until = Story(), 0.0, None, 0.0
    for seconds, is_there in looks:
        now += seconds
        story.look(now, *([LEG] if is_there else []))
        since = (now if since is None else since) if is_there else None
        until = now
        told = [moment for moment, _, _ in story.said]
        assert all(
            later - first >= QUIET_SECONDS for first, later in zip(told, told[2:], strict=False)
        )
        is_known = bool(story.said) and story.said[-1][1] != "ended"
        if since is not None and until - since >= QUIET_SECONDS + SETTLE_SECONDS:
            assert is_known  # whoever is told knows of what has stood so long
    kinds = [kind for _, kind, _ in story.said if kind != "reminded"]
    assert kinds == ["raised", "ended"] * (len(kinds) // 2) + ["raised"] * (len(kinds) % 2)
