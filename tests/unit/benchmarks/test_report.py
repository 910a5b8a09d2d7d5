"""The benchmark's tables say what the figures say, and goals can be missed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.comparison import Comparison
from benchmarks.latency import Latency
from benchmarks.report import (
    aligned,
    comparison_table,
    host,
    latency_table,
    markdown,
    notes,
    write,
)
from benchmarks.subjects import NBDKIT, ONE_LEG, PLAIN, QEMU
from benchmarks.workloads import COLD_READ


def comparison(own: float) -> Comparison:
    figures = {PLAIN: [900.0, 1000.0, 5000.0], QEMU: [300.0], NBDKIT: [400.0], ONE_LEG: [own]}
    return Comparison("ram", {COLD_READ.name: "/s"}, {COLD_READ.name: figures})


@pytest.mark.parametrize(
    ("own", "verdict"),
    [
        (600.0, "met"),
        (510.0, "missed: 1.27 < 1.3 of peer"),
        (300.0, "missed: 0.30 < 0.5, 0.75 < 1.3 of peer"),
    ],
)
def test_goals_are_judged_by_medians(own: float, verdict: str) -> None:
    header, row = comparison_table(comparison(own))
    assert header == ["workload", PLAIN, QEMU, NBDKIT, ONE_LEG, "to better peer", "goal"]
    assert row[1] == "1 000"
    assert row[3] == "400 (0.40)"
    assert row[5] == f"{own / 400:.2f}"
    assert row[6] == verdict


def test_a_subject_that_did_not_run_is_named_and_has_no_verdict() -> None:
    one = comparison(600.0)
    del one.figures[COLD_READ.name][ONE_LEG]
    one.missing[ONE_LEG] = "no /dev/fuse"
    assert comparison_table(one)[1][-2:] == ["-", "-"]
    assert f"ram: {ONE_LEG} did not run: no /dev/fuse" in notes([one])


def test_the_path_of_a_gate_is_named() -> None:
    one = comparison(600.0)
    one.paths[ONE_LEG] = "compiled"
    assert f"ram: the path of {ONE_LEG}: compiled" in notes([one])


def test_waits_are_judged_by_their_median() -> None:
    _, row = latency_table([Latency("fault", [5.0, 30.0, 8.0], 0, goal_ms=10.0)])
    assert row == ["fault", "3", "8.0 ms", "30.0 ms", "30.0 ms", "0", "median <= 10 ms: met"]
    _, row = latency_table([Latency("fault", [11.0], 2, goal_ms=10.0)])
    assert row[5:] == ["2", "median <= 10 ms: missed"]


def test_tables_are_aligned() -> None:
    assert aligned([["a", "bb"], ["ccc", "d"]]) == "a    bb\n-------\nccc   d"
    assert markdown([["a", "b"], ["c", "d"]]) == "| a | b |\n|---|---:|\n| c | d |"


def test_results_are_written(tmp_path: Path) -> None:
    write(tmp_path / "results", [comparison(600.0)], [Latency("fault", [1.0])], host())
    values = json.loads((tmp_path / "results" / "latest.json").read_text())
    assert values["comparisons"][0]["medians"][COLD_READ.name][PLAIN] == 1000.0
    assert values["latencies"][0]["waits_ms"] == [1.0]
    assert "600 (0.60)" in (tmp_path / "results" / "latest.md").read_text()
