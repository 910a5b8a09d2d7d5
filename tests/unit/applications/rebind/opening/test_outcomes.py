"""When a file counts as what it was."""

from __future__ import annotations

import stat
from dataclasses import replace

from holdfast.applications.rebind.opening.outcomes import compare
from holdfast.applications.rebind.parking.observed import Observed
from holdfast.model.handle import HandleOutcome

FILE = Observed(
    device=1, inode=2, mode=stat.S_IFREG | 0o600, size_bytes=10, modified_ns=1000, digest=""
)


def outcome(before: Observed | None, after: Observed, same_data: bool = False) -> HandleOutcome:
    return compare(before, after, same_data)[0]


def test_same_size_and_time() -> None:
    assert outcome(FILE, replace(FILE, inode=77)) is HandleOutcome.IDENTICAL


def test_another_size() -> None:
    assert outcome(FILE, replace(FILE, size_bytes=9), True) is HandleOutcome.ROLLED_BACK


def test_another_time() -> None:
    later = replace(FILE, modified_ns=2000)
    assert outcome(FILE, later) is HandleOutcome.ROLLED_BACK
    assert outcome(FILE, later, True) is HandleOutcome.IDENTICAL


def test_contents_decide_where_they_are_known() -> None:
    before = replace(FILE, digest="a")
    assert outcome(before, replace(before, modified_ns=5)) is HandleOutcome.IDENTICAL
    assert outcome(before, replace(before, digest="b")) is HandleOutcome.ROLLED_BACK


def test_nothing_is_claimed_of_what_was_not_seen() -> None:
    assert outcome(None, FILE) is HandleOutcome.ROLLED_BACK
    assert outcome(None, FILE, True) is HandleOutcome.IDENTICAL


def test_directories_are_not_compared() -> None:
    assert outcome(None, replace(FILE, mode=stat.S_IFDIR)) is HandleOutcome.IDENTICAL
