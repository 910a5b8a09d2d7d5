"""What an operation says at work survives the way through JSON, and nothing else does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.bounded import read_object
from holdfast.model.event import Event, Found, Progressed, Said, event_as_json, read_event
from holdfast.model.finding import Finding, Verdict
from holdfast.model.reporter import reporter_to

ESCAPED_BYTES = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=("Cs",))
"""What os.fsdecode makes of bytes that are no UTF-8."""
TEXTS = st.text(st.characters() | ESCAPED_BYTES, max_size=200)
TIMES = st.floats(0, 1e10)
FINDINGS = st.builds(Finding, TEXTS, st.sampled_from(Verdict), TEXTS, TEXTS, TEXTS)
EVENTS = (
    st.builds(Said, TIMES, TEXTS)
    | st.builds(Progressed, TIMES, st.floats(0, 100))
    | st.builds(Found, TIMES, FINDINGS)
)


@given(EVENTS)
def test_an_event_is_the_same_after_its_json(event: Event) -> None:
    assert read_event(read_object(json.dumps(event_as_json(event)))) == event


@pytest.mark.parametrize(
    "changed",
    [
        {"form": 2},
        {"form": True},
        {"form": None},
        {"event": "sung"},
        {"event": ["said"]},
        {"words": 1},
        {"words": None},
        {"at": "now"},
        {"more": 1},
    ],
)
def test_what_is_no_event_is_refused(changed: dict[str, object]) -> None:
    values = {**event_as_json(Said(1.0, "freeze")), **changed}
    with pytest.raises(ValueError):
        read_event(values)


def test_a_reporter_tells_everything_in_order() -> None:
    told: list[Event] = []
    reporter = reporter_to(told.append)
    finding = Finding("locks", Verdict.LIMITED, "there are some")
    reporter.say("freeze")
    reporter.percent(12.5)
    reporter.find(finding)
    assert [type(each) for each in told] == [Said, Progressed, Found]
    assert [each.at for each in told] == sorted(each.at for each in told)
    assert told[0] == Said(told[0].at, "freeze")
    assert told[1] == Progressed(told[1].at, 12.5)
    assert told[2] == Found(told[2].at, finding)
