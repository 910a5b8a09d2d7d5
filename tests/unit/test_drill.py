"""What a drill is expected to take, from what the last good one took."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.errors import InvalidOption
from holdfast.model.drill import (
    SLOW_BYTES_PER_SECOND,
    DrillPhase,
    LastDrill,
    as_details,
    in_short,
    phases_of,
    predicted,
)
from holdfast.model.receipt import Receipt, receipt_from_json
from holdfast.policy.drill_schedules import DrillSchedule, is_due, read_schedules, set_schedule
from holdfast.policy.made_up import LONGEST_SECONDS, MadeUp, end_made_up, made_up, make_up
from holdfast.policy.readiness import failed_drill
from holdfast.service import DrillRequest


def receipt_of(*phases: DrillPhase, outcome: str = "done: it would", mend: str = "") -> Receipt:
    details = {"phases": as_details(phases), "mend": mend}
    return Receipt("r", "shop", "drill", "drill on a clone", 1.0, 9.0, outcome, details=details)


def test_what_was_measured_is_expected_by_size() -> None:
    now = [
        DrillPhase("look", 5.0, 7.0),
        DrillPhase("copy", 5.0, 7.0, 200),
        DrillPhase("apply", 5.0, 7.0, 50),
        DrillPhase("check", 5.0, 7.0),
        DrillPhase("read", 5.0, 7.0, SLOW_BYTES_PER_SECOND),
    ]
    last = receipt_of(
        DrillPhase("look", 1.0, 3.0),
        DrillPhase("copy", 1.0, 4.0, 100),
        DrillPhase("apply", 1, 2, 99),
    )
    read_back = receipt_from_json(json.loads(json.dumps(last.as_json())))
    expected = [each.predicted_ms for each in predicted(now, read_back)]
    assert expected == [3.0, 8.0, 2.0, None, 1000.0]
    assert [each.predicted_ms for each in predicted(now, None)][:1] == [None]
    assert phases_of(receipt_of()) == ()
    assert phases_of(Receipt("r", "s", "drill", "", 1, 2, "", details={"phases": ["x", {}]})) == (
        DrillPhase("", 0.0, 0.0),
    )


def test_one_that_failed_is_told_until_another_one_works() -> None:
    bad = in_short(receipt_of(outcome="failed: run the check: it says no", mend="Look."))
    assert (bad.worked, bad.at) == (False, 9.0)
    (told,) = failed_drill("shop", bad)
    assert told.words.endswith("could not be restored: run the check: it says no")
    assert told.mend == "Look. Then: holdfast drill shop"
    assert not list(failed_drill("shop", in_short(receipt_of())))
    assert not list(failed_drill("shop", None))
    (told,) = failed_drill("shop", LastDrill("r", 1.0, worked=False, outcome="failed: x"))
    assert told.mend == "holdfast drill shop"


def test_when_one_is_due() -> None:
    schedule = DrillSchedule("shop", 7200.0, set_at=1000.0)
    assert is_due(schedule, None, 1001.0, quiet=True), "the first one is made soon"
    assert not is_due(schedule, None, 1001.0, quiet=False)
    assert is_due(schedule, None, 1000.0 + 1800.0, quiet=False), "it does not wait for ever"
    assert not is_due(schedule, 5000.0, 5000.0 + 7199.0, quiet=True)
    assert is_due(schedule, 5000.0, 5000.0 + 7200.0, quiet=True)
    assert not is_due(schedule, 5000.0, 5000.0 + 8999.0, quiet=False)
    assert is_due(schedule, 5000.0, 5000.0 + 9000.0, quiet=False)
    assert is_due(schedule, 9e9, 5000.0, quiet=True), "a clock was set back since"
    for wrong in (3599.0, 0.0, 367 * 86400.0):
        with pytest.raises(InvalidOption):
            DrillSchedule("shop", wrong, 0.0)


def test_schedules_and_what_is_made_up_are_kept(tmp_path: Path) -> None:
    assert read_schedules(tmp_path) == () and made_up(tmp_path, 1.0) == ()
    for name in ("b", "a", "b"):
        set_schedule(tmp_path, name, DrillSchedule(name, 7200.0, 1.0, check="/bin/true 'a b'"))
    assert [each.volume for each in read_schedules(tmp_path)] == ["a", "b"]
    set_schedule(tmp_path, "a", None)
    set_schedule(tmp_path, "c", None)
    assert [each.volume for each in read_schedules(tmp_path)] == ["b"]
    make_up(tmp_path, MadeUp("shop", "12345678abc", 100.0))
    (told,) = made_up(tmp_path, 101.0)
    assert (told.volume, told.about) == ("shop", "drill 12345678abc")
    assert told.words.startswith("DRILL 12345678") and "nothing is wrong" in told.words
    assert not made_up(tmp_path, 100.0 + LONGEST_SECONDS) and not made_up(tmp_path, 99.0)
    end_made_up(tmp_path)
    end_made_up(tmp_path)
    assert not made_up(tmp_path, 101.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": "now", "contents": "file:/x.img"},
        {"check": "relative --all"},
        {"check": "/bin/true 'open"},
        {"check_seconds": 0.0},
        {"check_seconds": 1e9},
    ],
)
def test_what_cannot_be_asked_for(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidOption):
        DrillRequest("shop", **wrong)  # type: ignore[arg-type]
