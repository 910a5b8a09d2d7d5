"""What is there for a later day and would not serve then is told before."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from holdfast.model.copy import VIEW, VolumeCopy
from holdfast.model.history import HistoryStretch
from holdfast.model.policy import Attempt, AttemptState, OnLoss, Policy, PolicyStanding
from holdfast.model.volume import GateReport, VolumeReport, VolumeState
from holdfast.policy.readiness import in_words, unattended, unready_copies
from holdfast.policy.unattended import Action, Decision

COPY = VolumeCopy("a1b2c3d4e5", "shop", "i", "file:/c.img", 1 << 30, 500, 1.0, good_from=500)
HALF = replace(COPY, id="half", good_from=None)
KEPT = HistoryStretch(100, None, 1.0, None)
GAP = HistoryStretch(100, 900, 1.0, 2.0, "no room")
AFTER = HistoryStretch(1000, None, 3.0, None)


def told(
    *copies: VolumeCopy, stretches: tuple[HistoryStretch, ...] = (KEPT,), **changes: Any
) -> list[tuple[str, str]]:
    journal = {
        "mode": changes.pop("mode", "continuous"),
        "history_stretches": [asdict(each) for each in stretches],
    }
    gate = GateReport(1, 2, False, "", None, 0, 0, 0, 0.0, journal=journal)
    report = VolumeReport(
        "shop", "gated", VolumeState.HEALTHY, "/srv/shop", "ext4", 1 << 30, "/dev/loop0", "i", "",
        "", "", "continuous", 3, (), changes.pop("gate", gate), wanted=True,
    )  # fmt: skip
    at_work = changes.pop("at_work", False)
    return [(each.words, each.mend) for each in unready_copies(report, copies, at_work=at_work)]


def test_what_serves_is_not_told() -> None:
    other = replace(COPY, volume="other", position=1), replace(COPY, volume_id="deleted")
    assert told() == told(COPY) == told(COPY, *other) == []
    assert told(HALF, at_work=True) == told(COPY, gate=None) == told(COPY, stretches=()) == []
    assert told(COPY, replace(COPY, position=1500, good_from=1500), stretches=(GAP, AFTER)) == []


@pytest.mark.parametrize(
    ("copies", "changes", "words", "mend"),
    [
        ((HALF,), {}, "an unfinished copy was left", "holdfast recover"),
        ((replace(HALF, clone="old"),), {}, "the unfinished clone old", "holdfast recover"),
        ((replace(HALF, clone=VIEW),), {"gate": None}, "files were looked for", "holdfast recover"),
        ((COPY,), {"mode": "unflushed"}, "no history leads on", "holdfast history shop --at"),
        ((replace(COPY, position=50), COPY), {}, "does not reach back", "remove shop a1b2c3d4"),
        ((replace(COPY, volume_id="before restore"),), {"mode": "unflushed"},
         "of before it got this gate", "copy remove shop COPY"),
        ((replace(HALF, clone=VIEW, volume_id="then"),), {}, "files were looked for", "recover"),
        ((COPY,), {"stretches": (GAP, AFTER)}, "a gap after its newest copy", "copy add shop URL"),
    ],
)  # fmt: skip
def test_each_with_what_mends_it(
    copies: tuple[VolumeCopy, ...], changes: dict[str, Any], words: str, mend: str
) -> None:
    [(found, way)] = told(*copies, **changes)
    assert words in found
    assert mend in way


def test_a_history_that_is_kept_is_not_begun() -> None:
    for mode in ("unflushed", "continuous"):
        [(_, mend)] = told(replace(COPY, volume_id="before restore"), mode=mode)
        assert ("history shop --at" in mend) == (mode == "unflushed")
        assert "copy add shop URL" in mend


def test_a_policy_takes_a_daemon() -> None:
    [found] = unattended("shop", is_watched=False)
    assert "holdfast daemon" in found.mend
    assert not list(unattended("shop", is_watched=True))


def test_what_the_daemon_says_too_is_said_in_the_same_words() -> None:
    no = Decision(Action.REFUSE, "no such file")
    standing = PolicyStanding(Policy(OnLoss.RESTORE, "file:/x"), None)
    done = replace(standing, attempt=Attempt("a", 1, 1.0, AttemptState.DONE))
    assert in_words(no, standing, is_lost=True) == "it is not restored by itself: no such file"
    assert in_words(no, standing, is_lost=False).startswith("it would not be restored by itself: ")
    assert in_words(no, done, is_lost=False) == "no such file"
