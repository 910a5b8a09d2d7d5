"""Requests at several depths: what fio says, how rounds are compared, tables, the picture."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.depths import tables
from benchmarks.depths.fio import DURABLE, LOADS, READS, WRITES, Load, Sample, parse
from benchmarks.depths.measure import Cell, Depths
from benchmarks.depths.placement import FREE, PLACEMENTS
from benchmarks.depths.processor_time import Reading
from benchmarks.depths.subjects import DEPTH_SUBJECTS, FORMS, ONE_LEG_COMPILED, RAW
from benchmarks.subjects import PLAIN

FACTS = {
    "time": "2026-01-01T00:00:00+00:00",
    "commit": "abc",
    "machine": "a machine",
    "kernel": "6.18",
    "processors": 2,
}


@pytest.fixture
def plot() -> ModuleType:
    """Loaded by who needs it: what draws takes 30 MB, which each fork of a worker would copy."""
    return importlib.import_module("benchmarks.depths.plot")


def waits(*nanoseconds: int) -> dict[str, object]:
    names = ("50.000000", "99.000000", "99.900000")
    return {"percentile": dict(zip(names, nanoseconds, strict=True))}


def said_by_fio(total: int) -> str:
    """As version 3.33 does, which may warn before it."""
    asked = {"total_ios": total, "iops": 2000.0, "lat_ns": waits(1000, 2000, 3000)}
    job = {
        "read": asked,
        "write": asked,
        "sync": {"lat_ns": waits(4000, 5000, 6000)},
        "usr_cpu": 10.0,
        "sys_cpu": 30.0,
        "job_runtime": 2000,
    }
    return "fio: a warning\n" + json.dumps({"fio version": "fio-3.33", "jobs": [job]})


def sample(per_second: float) -> Sample:
    return Sample(100, per_second, 10.0, 20.0, 30.0, 1.0, 2.0, 3.0)


def measured(*subjects: str, load: Load = READS[0]) -> Depths:
    """Two rounds each; every subject is half as fast as the one before it."""
    depths = Depths("ram", "io_uring", 2.0)
    for number, name in enumerate(subjects):
        cell = Cell(load, FREE.name, name)
        depths.samples[cell] = [sample(1000 / 2**number), sample(2000 / 2**number)]
    return depths


def test_what_fio_says() -> None:
    found = parse(said_by_fio(4000), WRITES[0])
    assert (found.requests, found.per_second) == (4000, 2000.0)
    assert (found.p50_us, found.p99_us, found.p999_us) == (1.0, 2.0, 3.0)
    assert found.fio_us == pytest.approx(200.0)  # 40 % of 2 s


def test_the_latency_of_a_durable_write_is_that_of_its_fdatasync() -> None:
    assert parse(said_by_fio(4000), DURABLE).p99_us == 5.0


def test_no_answer_is_no_sample() -> None:
    with pytest.raises(ValueError, match="no answer"):
        parse(said_by_fio(0), READS[0])


def test_a_durable_write_needs_no_engine() -> None:
    options = DURABLE.options(Path("/x"), 0.5, "io_uring")
    assert "--ioengine=psync" in options
    assert "--fdatasync=1" in options
    assert "--runtime=500ms" in options
    assert "--ioengine=libaio" in READS[0].options(Path("/x"), 0.5, "libaio")


def test_processor_time_of_threads_that_came_and_went() -> None:
    before = Reading({1: 5000, 2: 9000}, {7: 0})
    spent = Reading({1: 6000, 3: 2000}, {7: 4000}).since(before)
    assert (spent.server_us, spent.kernel_us) == (3.0, 4.0)


def test_rounds_are_compared_with_their_own_round() -> None:
    depths = measured(PLAIN, ONE_LEG_COMPILED)
    cell = Cell(READS[0], FREE.name, ONE_LEG_COMPILED)
    assert depths.ratios(cell, PLAIN) == [0.5, 0.5]
    assert depths.ratios(cell, RAW) == []
    assert depths.ratios(cell._replace(subject=PLAIN), PLAIN) == []
    assert depths.rounds == 2


def test_a_row_for_each_subject() -> None:
    header, plain, own = tables.load_table(measured(PLAIN, ONE_LEG_COMPILED), READS[0])
    assert len(header) == len(plain) == len(own)
    assert plain[:5] == [PLAIN, "1 500", "33%", "-", "-"]
    assert own == [
        *(ONE_LEG_COMPILED, "750", "33%", "0.50", "-"),
        *("10.0", "20", "30", "2.0", "3.0", "1.0"),
    ]


def test_what_a_placement_did() -> None:
    depths = measured(PLAIN)
    steady = Cell(READS[0], "together", PLAIN)
    depths.samples[steady] = [sample(3000.0), sample(3000.0)]
    rows = tables.placement_table(depths, READS[0])
    assert [row[:5] for row in rows[1:]] == [
        [PLAIN, "free", "1 500", "33%", "67%"],
        [PLAIN, "together", "3 000", "0%", "0%"],
    ]
    assert tables.placement_summary(depths)[1:] == [
        ["free", "1.00", "33%", "67%"],
        ["together", "2.00", "0%", "0%"],
    ]


def test_results_and_picture_are_written(tmp_path: Path, plot: ModuleType) -> None:
    depths = measured(*DEPTH_SUBJECTS)
    depths.missing["x"] = "no reason"
    tables.write(tmp_path, "depths-ram", depths, tables.load_table, FACTS, "![](x.svg)")
    values = json.loads((tmp_path / "depths-ram.json").read_text())
    assert values["cells"][0]["rounds"][1]["per_second"] == 2000.0
    text = (tmp_path / "depths-ram.md").read_text()
    assert "2 rounds of 2 s, engine io_uring, placement free." in text
    assert "- x did not run: no reason" in text
    plot.write(tmp_path, "depths-ram", depths, FACTS)
    assert (tmp_path / "depths-ram.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "depths-ram.svg").read_text()


def test_a_picture_of_what_little_there_is(plot: ModuleType) -> None:
    assert len(plot.draw(measured(PLAIN), FACTS).axes) == len(plot.ROWS)


def test_each_subject_looks_like_no_other(plot: ModuleType) -> None:
    styles = [plot.style_of(name) for name in DEPTH_SUBJECTS]
    assert len(set(styles)) == len(DEPTH_SUBJECTS)
    assert len(FORMS) == 8


def test_a_latency_reaches_from_its_median_to_p99(plot: ModuleType) -> None:
    row = next(row for row in plot.ROWS if row.latency)
    (point,) = plot.points(measured(PLAIN), row, [Cell(READS[0], FREE.name, PLAIN)])
    assert (point.low, point.middle, point.high, point.beyond) == (10.0, 10.0, 20.0, 30.0)


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (20, "20"), (2000, "2 k"), (3_000_000, "3 M")]
)
def test_numbers_of_an_axis_are_short(plot: ModuleType, value: float, text: str) -> None:
    assert plot.short(value) == text


def test_loads_and_placements_have_names_of_their_own() -> None:
    assert len({tables.title(load) for load in LOADS}) == len(LOADS) == 7
    assert FREE.name in PLACEMENTS
