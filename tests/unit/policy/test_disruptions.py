"""One disruption for each cause, with everything that was seen of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.evidence import Evidence
from holdfast.model.trouble import Trouble
from holdfast.policy.disruptions import disruptions

SHORT = st.sampled_from(["a", "b", "c"])
TROUBLES = st.lists(st.builds(Trouble, SHORT, SHORT, SHORT, SHORT, st.booleans()), max_size=6)
EVIDENCE = st.lists(st.builds(Evidence, SHORT, SHORT, SHORT, SHORT, st.booleans()), max_size=6)


def test_a_state_with_its_evidence() -> None:
    state = Trouble("shop", "read-only", "holdfast assess shop")
    kernel = Evidence("shop", "state", "the kernel reports errors", "replace it")
    room = Evidence("shop", "room", "only 1 MiB are free", "make room")
    joined, other = disruptions([state], [kernel, room])
    assert joined == Trouble("shop", "read-only; the kernel reports errors", "holdfast assess shop")
    assert (other.about, other.grave) == ("room", False)


@given(TROUBLES, EVIDENCE)
def test_nothing_is_lost_and_nothing_told_twice(
    troubles: list[Trouble], evidence: list[Evidence]
) -> None:
    found = disruptions(troubles, evidence)
    causes = [(each.volume, each.about) for each in found]
    assert len(causes) == len(set(causes))
    by_cause = dict(zip(causes, found, strict=True))
    for each in (*troubles, *evidence):
        one = by_cause.pop((each.volume, each.about), None)
        if one is None:
            continue
        same = [other for other in (*troubles, *evidence)
                if (other.volume, other.about) == (each.volume, each.about)]  # fmt: skip
        assert set(one.words.split("; ")) == {other.words for other in same}
        assert one.mend == same[0].mend
        assert one.grave == any(other.grave for other in same)
    assert not by_cause
    assert disruptions(found, ()) == found
