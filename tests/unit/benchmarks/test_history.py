"""What a history costs is compared round by round, and a missed goal is called one."""

from __future__ import annotations

from pathlib import Path

from benchmarks.history import BESIDE, ELSEWHERE, WITHOUT, WORKS, Histories, Sample, table, write

PGBENCH, FIO = WORKS[-1].name, WORKS[0].name


def found(*rates: tuple[float, float, float], work: str = PGBENCH) -> Histories:
    histories = Histories(1.0, "/disk (/dev/sda)", {ELSEWHERE: "/ram (memory: no disk at all)"})
    histories.samples[work] = {
        name: [Sample(each[place], 10.0, 5.0, 4096, 8192) for each in rates]
        for place, name in enumerate((WITHOUT, ELSEWHERE, BESIDE))
    }
    return histories


def test_ratios_are_those_of_the_same_round() -> None:
    histories = found((100, 95, 50), (200, 190, 160), (400, 360, 320))
    assert histories.ratios(PGBENCH, ELSEWHERE) == [0.95, 0.95, 0.9]
    without, elsewhere, beside = table(histories, PGBENCH)[1:]
    assert without[3] == "-"
    assert (elsewhere[3], elsewhere[-1]) == ("0.95", ">= 0.9: met")
    assert (beside[3], beside[-1]) == ("0.80", ">= 0.75: met")
    assert beside[6] == "2.00"


def test_a_missed_goal_is_told_and_only_pgbench_has_one() -> None:
    assert table(found((100, 89, 70)), PGBENCH)[2][-1] == ">= 0.9: missed"
    assert table(found((100, 10, 10), work=FIO), FIO)[2][-1] == "-"


def test_it_says_that_memory_is_no_second_disk(tmp_path: Path) -> None:
    write(tmp_path, found((100, 95, 80)), {"machine": "this"})
    text = (tmp_path / "history.md").read_text()
    assert "There was no second disk" in text
    assert "/dev/sda" in text
