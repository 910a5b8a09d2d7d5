"""`make bench`, `python -m benchmarks`: measure, print, write benchmarks/results/."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import disruptions, filling, history, rebind, report, rewind
from benchmarks.commands import BenchmarkError
from benchmarks.comparison import Comparison, compare, say
from benchmarks.depths import plot, tables
from benchmarks.depths.fio import ENGINES, LOADS, PLACEMENT_LOADS
from benchmarks.depths.measure import Depths
from benchmarks.depths.measure import measure as measure_depths
from benchmarks.depths.placement import FREE, PLACEMENTS
from benchmarks.depths.subjects import DEPTH_SUBJECTS, PLACEMENT_SUBJECTS
from benchmarks.front_end import front_end
from benchmarks.latency import LATENCIES, Latency
from benchmarks.subjects import ONE_LEG, SUBJECTS, TWO_LEGS
from benchmarks.workloads import FILE_WORKLOADS, PGBENCH
from holdfast.errors import HoldfastError

PLACES = {"ram": Path("/dev/shm"), "disk": Path("/var/tmp")}
DEPTHS = {f"depths-{place}": place for place in PLACES}
BACK_IN_TIME = ("points", "rewind", "filling")
PARTS = (
    *PLACES, "pgbench", "front-end", *LATENCIES, "rebind", *DEPTHS, "placement", "history",
    *BACK_IN_TIME, "disruptions",
)  # fmt: skip


def main() -> int:
    """Exit status 1 when a part of Holdfast did not run; missed goals are only reported."""
    arguments = _arguments()
    if os.geteuid() != 0:
        say("The benchmark needs root: it mounts file systems.")
        return 5
    # Ended from outside, it cleans up as after Ctrl-C, also where a shell has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    facts = report.host()
    arguments.output.mkdir(parents=True, exist_ok=True)
    # Each part runs, whatever became of the one before it.
    ran = [
        _comparisons_and_waits(arguments, facts),
        _rebind(arguments, facts),
        *(_depths(arguments, facts, name) for name in DEPTHS),
        _placement(arguments, facts),
        _history(arguments, facts),
        _back_in_time(arguments, facts),
        _disruptions(arguments, facts),
    ]
    return 0 if all(ran) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: does it run?")
    parser.add_argument(
        "--only",
        action="append",
        metavar="PART",
        choices=PARTS,
        help=f"one of {', '.join(PARTS)}; repeatable",
    )
    subjects = list(dict.fromkeys((*SUBJECTS, *DEPTH_SUBJECTS)))  # some are in both
    parser.add_argument(
        "--subject",
        action="append",
        metavar="SUBJECT",
        choices=subjects,
        help=f"{'; '.join(subjects)}. Repeatable",
    )
    parser.add_argument("--rounds", type=int, help="of each workload (5)")
    parser.add_argument("--seconds", type=float, help="of each measurement (2)")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="fio's, for depths")
    parser.add_argument(
        "--placement", choices=list(PLACEMENTS), default=FREE.name, help="for depths"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    for place, folder in PLACES.items():
        parser.add_argument(f"--{place}", type=Path, default=folder, help=f"folder ({folder})")
    parser.add_argument("--history", type=Path, help="folder on another disk, for history (--ram)")
    arguments = parser.parse_args()
    arguments.parts = arguments.only or PARTS
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 5)
    return arguments


def _comparisons_and_waits(arguments: argparse.Namespace, facts: dict[str, Any]) -> bool:
    """Whether Holdfast's subjects and all faults did run. Writes latest.*."""
    parts = arguments.parts
    seconds = arguments.seconds or (1.0 if arguments.quick else 2.0)
    subjects = _chosen(arguments, SUBJECTS)
    comparisons: list[Comparison] = []
    for place in PLACES:
        folder = getattr(arguments, place)
        workloads = list(FILE_WORKLOADS) if place in parts else []
        if place == "disk" and "pgbench" in parts:
            workloads.extend(PGBENCH)
        if workloads:
            rounds = arguments.rounds
            comparisons.append(compare(place, folder, subjects, workloads, rounds, seconds))
    if "front-end" in parts:
        comparisons.append(front_end(arguments.ram, arguments.rounds, seconds))
    failed = any(name in one.missing for one in comparisons for name in (ONE_LEG, TWO_LEGS))
    latencies: list[Latency] = []
    for name, measure in LATENCIES.items():
        if name not in parts:
            continue
        try:
            latencies.append(measure(arguments.ram, _rounds_of(name, arguments.quick)))
        except (BenchmarkError, TimeoutError, RuntimeError, OSError) as error:
            say(f"{name} does not run: {error}")
            failed = True
    for comparison in comparisons:
        print(f"\nOn {comparison.place}")
        print(report.aligned(report.comparison_table(comparison)))
    if latencies:
        print()
        print(report.aligned(report.latency_table(latencies)))
    if comparisons or latencies:
        print()
        print("\n".join(report.notes(comparisons)))
        report.write(arguments.output, comparisons, latencies, facts)
    return not failed


def _rebind(arguments: argparse.Namespace, facts: dict[str, Any]) -> bool:
    if "rebind" not in arguments.parts:
        return True
    try:
        exchanges = rebind.measure(arguments.ram, 2 if arguments.quick else 7)
    except (BenchmarkError, HoldfastError, OSError) as error:
        say(f"rebind does not run: {error}")
        return False
    print(f"\n{rebind.show(exchanges)}")
    rebind.write(arguments.output, exchanges, facts)
    return True


def _depths(arguments: argparse.Namespace, facts: dict[str, Any], name: str) -> bool:
    """Whether all of Holdfast's subjects did run. Writes NAME.* with a picture."""
    if name not in arguments.parts:
        return True
    place = DEPTHS[name]
    depths = Depths(place, arguments.engine, _seconds_of_depths(arguments))
    measure_depths(
        depths,
        getattr(arguments, place),
        _chosen(arguments, DEPTH_SUBJECTS),
        LOADS,
        [PLACEMENTS[arguments.placement]],
        arguments.rounds,
    )
    if not depths.samples:
        return False
    print(f"\n{tables.show(depths, tables.load_table)}")
    picture = f"![{name}]({name}.svg)"
    tables.write(arguments.output, name, depths, tables.load_table, facts, picture)
    plot.write(arguments.output, name, depths, facts)
    return not any(subject.startswith("holdfast") for subject in depths.missing)


def _placement(arguments: argparse.Namespace, facts: dict[str, Any]) -> bool:
    """On the RAM disk, where there is nothing else to wait for. Writes placement.*"""
    if "placement" not in arguments.parts:
        return True
    depths = Depths("ram", arguments.engine, _seconds_of_depths(arguments))
    placements = list(PLACEMENTS.values())
    subjects = _chosen(arguments, PLACEMENT_SUBJECTS)
    measure_depths(depths, arguments.ram, subjects, PLACEMENT_LOADS, placements, arguments.rounds)
    summary = tables.placement_summary(depths)
    print(f"\n{tables.show(depths, tables.placement_table)}\n\n{report.aligned(summary)}")
    extra = report.markdown(summary)
    tables.write(arguments.output, "placement", depths, tables.placement_table, facts, extra)
    return not any(subject.startswith("holdfast") for subject in depths.missing)


def _history(arguments: argparse.Namespace, facts: dict[str, Any]) -> bool:
    """Whether all of it did run. Writes history.*"""
    if "history" not in arguments.parts:
        return True
    places = (arguments.disk, arguments.ram, arguments.history)
    seconds = arguments.seconds or (1.0 if arguments.quick else 5.0)
    try:
        found = history.measure(*places, arguments.rounds, seconds)
    except (BenchmarkError, OSError) as error:
        say(f"history does not run: {error}")
        return False
    print(f"\n{history.show(found)}")
    history.write(arguments.output, found, facts)
    return not found.missing


def _back_in_time(arguments: argparse.Namespace, facts: dict[str, Any]) -> bool:
    """Whether all of it did run. Writes rewind.* and filling.*"""
    points: list[rewind.Stalls] = []
    rewinds: list[rewind.Rewinds] = []
    cases = rewind.SHORT_CASES if arguments.quick else rewind.CASES
    try:
        if "points" in arguments.parts:
            points = rewind.measure_points(arguments.ram, 2 if arguments.quick else 20)
        if "rewind" in arguments.parts:
            rewinds = rewind.measure_rewinds(arguments.disk, arguments.rounds, cases)
        if "filling" in arguments.parts:
            data_bytes = rewind.FILE_BYTES * (8 if arguments.quick else 64)
            filled = filling.measure(arguments.disk, arguments.rounds, data_bytes)
            print(f"\n{filling.show(filled)}")
            filling.write(arguments.output, filled, facts)
    except (BenchmarkError, TimeoutError, RuntimeError, OSError) as error:
        say(f"points, rewind and filling do not run: {error}")
        return False
    if points or rewinds:
        print(f"\n{rewind.show(points, rewinds)}")
        rewind.write(arguments.output, points, rewinds, facts)
    return True


def _disruptions(arguments: argparse.Namespace, facts: dict[str, Any]) -> bool:
    """Whether all of them did run. Writes disruptions.*"""
    if "disruptions" not in arguments.parts:
        return True
    only = "two legs: a leg answers EIO" if arguments.quick else ""
    courses, missing = disruptions.measure(arguments.ram, only)
    print(f"\n{disruptions.show(courses)}")
    disruptions.write(arguments.output, courses, missing, facts)
    return not missing


def _chosen(arguments: argparse.Namespace, possible: Iterable[str]) -> list[str]:
    """Those of the command line that this part knows; all when none was named."""
    names = list(possible)
    return [name for name in names if name in (arguments.subject or names)]


def _seconds_of_depths(arguments: argparse.Namespace) -> float:
    return float(arguments.seconds or (0.3 if arguments.quick else 2.0))


def _rounds_of(latency: str, quick: bool) -> int:
    if quick:
        return 3
    return {"takeover": 300, "takeover-again": 100, "failover-hang": 5}.get(latency, 20)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("stopped; everything is cleaned up")
        sys.exit(130)
