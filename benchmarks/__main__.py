"""`make bench`, `python -m benchmarks`: measure, print, write benchmarks/results/latest.*"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from benchmarks import rebind, report
from benchmarks.commands import BenchmarkError
from benchmarks.comparison import Comparison, compare, say
from benchmarks.front_end import front_end
from benchmarks.latency import LATENCIES, Latency
from benchmarks.subjects import ONE_LEG, SUBJECTS, TWO_LEGS
from benchmarks.workloads import FILE_WORKLOADS, PGBENCH
from holdfast.errors import HoldfastError

PLACES = {"ram": Path("/dev/shm"), "disk": Path("/var/tmp")}
PARTS = (*PLACES, "pgbench", "front-end", *LATENCIES, "rebind")


def main() -> int:
    """Exit status 1 when a part of Holdfast did not run; missed goals are only reported."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=report.__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: does it run?")
    parser.add_argument(
        "--only",
        action="append",
        metavar="PART",
        choices=PARTS,
        help=f"one of {', '.join(PARTS)}; repeatable",
    )
    parser.add_argument("--subject", action="append", choices=list(SUBJECTS), help="repeatable")
    parser.add_argument("--rounds", type=int, help="of each workload (5)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    for place, folder in PLACES.items():
        parser.add_argument(f"--{place}", type=Path, default=folder, help=f"folder ({folder})")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        say("The benchmark needs root: it mounts file systems.")
        return 5
    # Ended from outside, it cleans up as after Ctrl-C, also where a shell has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    parts = arguments.only or PARTS
    subjects = arguments.subject or list(SUBJECTS)
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    seconds = 1.0 if arguments.quick else 2.0
    comparisons: list[Comparison] = []
    for place in PLACES:
        folder = getattr(arguments, place)
        workloads = list(FILE_WORKLOADS) if place in parts else []
        if place == "disk" and "pgbench" in parts:
            workloads.append(PGBENCH)
        if workloads:
            comparisons.append(compare(place, folder, subjects, workloads, rounds, seconds))
    if "front-end" in parts:
        comparisons.append(front_end(arguments.ram, rounds, seconds))
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
    exchanges: list[rebind.Exchange] = []
    if "rebind" in parts:
        try:
            exchanges = rebind.measure(arguments.ram, 2 if arguments.quick else 7)
        except (BenchmarkError, HoldfastError, OSError) as error:
            say(f"rebind does not run: {error}")
            failed = True
    for comparison in comparisons:
        print(f"\nOn {comparison.place}")
        print(report.aligned(report.comparison_table(comparison)))
    if latencies:
        print()
        print(report.aligned(report.latency_table(latencies)))
    if exchanges:
        print(f"\n{rebind.show(exchanges)}")
        rebind.write(arguments.output, exchanges, report.host())
    if comparisons or latencies:
        print()
        print("\n".join(report.notes(comparisons)))
        report.write(arguments.output, comparisons, latencies, report.host())
    return 1 if failed else 0


def _rounds_of(latency: str, quick: bool) -> int:
    if quick:
        return 3
    return {"takeover": 50, "failover-hang": 5}.get(latency, 20)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("stopped; everything is cleaned up")
        sys.exit(130)
