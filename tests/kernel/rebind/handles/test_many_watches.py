"""Whoever has many watches keeps nobody waiting while their numbers are gone through."""

from __future__ import annotations

import sys

from holdfast.applications.rebind.handles.inotify import MOST_NUMBERS
from holdfast.model.handle import HandleKind, HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

HAS_HAD = (0, MOST_NUMBERS // 10, MOST_NUMBERS * 19 // 20)
"""Each instance alone may be moved, all of them are too many. Those that are moved have few: what
they take is bounded by time as well, and a busy host has less of it."""
PROGRAM = f"""
import ctypes, os, sys
libc = ctypes.CDLL(None)
instances = [libc.inotify_init1(os.O_NONBLOCK) for _ in range(3)]
for instance, has_had in zip(instances, {HAS_HAD}):
    number = 0
    while number < has_had:
        number = libc.inotify_add_watch(instance, b"/", 4)
        libc.inotify_rm_watch(instance, number)
        if number % 4096 == 0:
            os.read(instance, 1 << 20)
    libc.inotify_add_watch(instance, os.fsencode(sys.argv[1]), 4)
print("ready", flush=True)
sys.stdin.readline()
"""


def test_all_instances_of_a_user_share_what_they_may_cost(bench: Bench, start: Hold) -> None:
    start(sys.executable, "-c", PROGRAM, bench.path)
    lines = bench.move("ext4")
    watches = [line for line in lines if line.handle.kind is HandleKind.INOTIFY]
    found = {line.handle.number: line.outcome for line in watches}
    outcomes = [found[number] for number in sorted(number for number in found if number)]
    assert outcomes == [HandleOutcome.IDENTICAL, HandleOutcome.IDENTICAL, HandleOutcome.LOST]
    assert any("too many watches" in line.note for line in watches)
