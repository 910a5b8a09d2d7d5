"""What the table of disruptions says of each course."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.disruptions import ADOPTED, FAULTS, HELD, ONE, TWO, Outcome, table


def test_a_row_says_what_became_of_it() -> None:
    failed_over = Outcome(TWO, "a leg hangs", "goes on", 8.7, 12.0, "leg 2 …", 5.04, 0, True, 2)
    over = replace(failed_over, fault="the worker is killed", detected=None, told=None)
    held = replace(failed_over, kind=ONE, outcome=HELD, went_on=False)
    lost = replace(held, kind=ADOPTED, outcome="told", errors=9, receipts=0)
    hangs = replace(lost, outcome="told; goes on when it answers", errors=0)
    restored = replace(lost, went_on=True)
    _, *rows = table([failed_over, over, held, lost, hangs, restored])
    assert [row[3:] for row in rows] == [
        ["8.7 s", "12.0 s", "5.04 s", "none", "2"],
        ["receipt only", "receipt only", "5.04 s", "none", "2"],
        ["8.7 s", "12.0 s", "until it is back", "none", "2"],
        ["8.7 s", "12.0 s", "until somebody acts", "all", "0"],
        ["8.7 s", "12.0 s", "until it is back", "none", "0"],
        ["8.7 s", "12.0 s", "5.04 s", "until then", "0"],
    ]
    names = [(each.kind, each.name) for each in FAULTS]
    assert len(names) == len(set(names))
