"""A receipt's page: complete in itself, and nothing that strangers chose acts in it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.receipt import Receipt, ReceiptStep
from holdfast.receipt_page import document, element, tone
from holdfast.receipt_page.gantt import Bar, BarSpan, gantt, span_of, ticks
from holdfast.receipt_page.page import section

START = 1_764_400_000.0

HOSTILE = "<script>alert(1)</script>\"'&\u202e\x1b[31m\udce9"
SHOWN = "<script>alert(1)</script>\"'&\\u202e\\x1b[31m\\xe9"


def step(name: str, after: float, seconds: float, outcome: str = "done") -> ReceiptStep:
    return ReceiptStep(name, START + after, seconds, outcome)


MOVED = Receipt(
    id="a81b2c3d", volume="notes", strategy="migrate", cause="planned", started=START,
    finished=START + 4.2, outcome="moved", longest_wait_ms=233.1, requests_held=3,
    steps=(step("prepare", 0, 3.9), step("freeze", 3.9, 0.01), step("restore", 3.95, 0.1),
           step("thaw", 4.13, 0.002)),
    processes=({"pid": 4711, "name": "bash", "frozen_ms": 233.1,
                "handles": {"file": {"identical": 3}}},),
)  # fmt: skip


def parsed(receipt: Receipt) -> ElementTree.Element:
    """The document; it is XML as well, so that a mistake in it is an error here."""
    text = document([receipt], "a receipt")
    text.encode()  # it can be written
    return ElementTree.fromstring(text.removeprefix("<!doctype html>\n"))


def texts(page: ElementTree.Element) -> list[str]:
    return ["".join(each.itertext()) for each in page.iter()]


def test_what_happened_is_in_it() -> None:
    page = parsed(MOVED)
    assert {"migrate of notes", "moved", "233.1 ms", "bash (4711)", "3 file identical"} <= {
        each.strip() for each in texts(page)
    }


def test_nothing_is_loaded_and_nothing_runs() -> None:
    text = document([MOVED], "a receipt")
    page = parsed(MOVED)
    assert not re.findall(r"(?: (?:src|href|srcset|action)=|url\(|@import)", text)
    assert not [each for each in page.iter() if each.tag in ("script", "iframe", "object", "a")]
    policy = [each.get("content") or "" for each in page.iter("meta")]
    assert any(each.startswith("default-src 'none'") for each in policy)


def test_what_strangers_chose_only_stands_there() -> None:
    hostile = Receipt(
        id=HOSTILE, volume=HOSTILE, strategy=HOSTILE, cause=HOSTILE, started=START,
        finished=START, outcome=HOSTILE, steps=(ReceiptStep(HOSTILE, START, 0.1, HOSTILE),),
        processes=({"pid": 1, "name": HOSTILE, "frozen_ms": 1.0,
                    "handles": {HOSTILE: {HOSTILE: 1}}},),
        verification=HOSTILE, details={HOSTILE: HOSTILE, "lost": [HOSTILE]},
    )  # fmt: skip
    page = parsed(hostile)
    assert not list(page.iter("script"))
    assert sum(SHOWN in each for each in texts(page)) > 10
    assert not [name for each in page.iter() for name in each.attrib if name.startswith("on")]
    assert HOSTILE not in document([hostile], HOSTILE)


def test_who_stands_still_for_a_moment_of_a_long_time_has_a_picture_of_that_moment() -> None:
    headings = [each.text for each in parsed(MOVED).iter() if each.tag == "h2"]
    assert headings[:3] == ["Time line", "While everybody stood still",
                            "Who stood still, and for how long"]  # fmt: skip
    quick = replace(MOVED, steps=MOVED.steps[1:], started=START + 3.9)
    assert "While everybody stood still" not in document([quick], "x")


@pytest.mark.parametrize(
    ("outcome", "errors", "expected"),
    [("moved", 0, "good"), ("continued, degraded: 1 of 2 legs in sync", 0, "good"),
     ("moved", 1, "bad"), ("undone: no room", 0, "bad"), ("abandoned: x", 0, "bad"),
     ("failed", 0, "bad")],
)  # fmt: skip
def test_tone(outcome: str, errors: int, expected: str) -> None:
    assert tone(replace(MOVED, outcome=outcome, errors_returned=errors)) == expected


def test_thousands_of_processes_are_bounded() -> None:
    crowd = tuple({"pid": pid, "name": "x", "frozen_ms": 1.0} for pid in range(5000))
    text = section(replace(MOVED, processes=crowd))
    assert "and 4800 more" in text
    assert len(text) < 100_000


@given(
    st.lists(
        st.tuples(st.floats(0, 1e7), st.floats(0, 1e7)).map(
            lambda pair: Bar("x", START + pair[0], pair[1])
        ),
        max_size=5,
    )
)
def test_every_bar_lies_on_the_line(bars: list[Bar]) -> None:
    picture = ElementTree.fromstring(gantt(bars, span_of(bars), "x"))
    drawn = [each for each in picture.iter() if each.tag.endswith("rect")]
    assert len(drawn) == 2 * len(bars)
    for each in drawn:
        begin, width = (float((each.get(name) or "").rstrip("%")) for name in ("x", "width"))
        assert begin >= 0 and width > 0 and begin + width <= 100.001


@given(st.floats(1e-6, 1e9))
def test_ticks_have_room(seconds: float) -> None:
    found = ticks(BarSpan(0.0, seconds).seconds)
    assert found[0] == 0
    assert 1 <= len(found) <= 6
    assert all(each <= seconds for each in found)


@pytest.mark.parametrize("value", ['"><script>', "a\x00b", "\u2066"])
def test_attributes_are_escaped(value: Any) -> None:
    made = ElementTree.fromstring(element("p", "x", title=value, class_=None))
    assert list(made.attrib) == ["title"]
    assert not {"\x00", "\u2066"} & set(made.get("title") or "")
