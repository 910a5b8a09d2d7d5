"""Who begins to use a file system when its users stand already, and nothing is parked yet."""

from __future__ import annotations

from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold
from tests.waiting import wait_until

USER = "cd $0 && exec 5>>log; echo ready; while read x; do echo $x >&5 && echo ok; done"


def test_they_are_stopped_with_the_others(bench: Bench, start: Hold) -> None:
    first = start("bash", "-c", USER, bench.path)
    rebind = bench.rebind()
    rebind.stop()
    late = start("bash", "-c", USER, bench.path)
    wait_until(rebind.stop_newcomers)  # as soon as the last look is old enough
    assert set(rebind.pids) == {first.pid, late.pid}
    rebind.release()
    for program in (first, late):
        assert program.ask("1") == "ok"
    assert {line.outcome for line in bench.move("xfs")} == {HandleOutcome.IDENTICAL}
    for program in (first, late):
        assert program.ask("2") == "ok"
    assert sorted((bench.path / "log").read_text().split()) == ["1", "1", "2", "2"]
