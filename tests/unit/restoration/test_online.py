"""When the online copy is near enough, and what the rest is predicted to take."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.applications.rebind.parking.placed_contents import CopiedAhead
from holdfast.restoration.copying.online import OnlineCopy, is_near
from holdfast.restoration.copying.passes import PassResult, Replica


def test_a_short_pass_is_near_and_one_that_shrinks_no_more() -> None:
    assert is_near([PassResult(1, 0.1, entries=10)])
    assert not is_near([PassResult(1, 9.0, entries=10)])
    assert not is_near([PassResult(1, 9.0, entries=10), PassResult(2, 5.0, entries=10)])
    assert is_near([PassResult(1, 9.0, entries=10), PassResult(2, 8.0, entries=10)])


def test_a_pass_that_missed_most_is_not_near_however_short() -> None:
    passes = [PassResult(1, 0.1, entries=1000, missed_files=990)]
    assert not is_near(passes)
    copy = OnlineCopy(tuple(passes), True, CopiedAhead(), 0.0)
    assert copy.final_pass_seconds > 0.9
    assert is_near([PassResult(1, 0.1, entries=1000, missed_files=1)]), "replaced all the time"


def test_what_was_renamed_after_it_was_walked_is_missed(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "daily.0").mkdir(parents=True)
    target.mkdir()
    for number in range(100):
        (source / "daily.0" / str(number)).touch()
    renames = iter(range(2))

    def sync() -> None:
        """Right after the walk."""
        for number in renames:
            (source / f"daily.{number}").rename(source / f"daily.{number + 1}")
            break

    replica = Replica(os.fsencode(source), os.fsencode(target), sync)
    passes = [replica.run_pass()]
    while not is_near(passes):
        passes.append(replica.run_pass())
    assert [each.missed_files for each in passes] == [100, 100, 0]
    assert len(list((target / "daily.2").iterdir())) == 100
