"""On which processors a load, its server and the loop device's workers run; whether these sleep.

On a virtual machine waking a processor that idles costs more than a request does, so where work
lies decides what a round gives. Everything that is set here is taken back.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import BenchmarkError

_LOOP_WORKERS = Path("/sys/devices/virtual/workqueue/cpumask")
"""Of every unbound work queue of the host: a loop device's cannot be told by itself."""

_LATENCY = Path("/dev/cpu_dma_latency")
"""While it is open, no processor idles more deeply than to be back within so many µs: with 0 it
polls (pm_qos_interface.rst)."""


@dataclass(frozen=True)
class Placement:
    """None: wherever the kernel likes."""

    name: str
    fio: int | None = None
    others: int | None = None
    """The server's threads and the loop devices' workers."""
    awake: bool = False
    """Processors that have nothing to do poll."""


FREE = Placement("free")
PLACEMENTS = {
    each.name: each
    for each in (
        FREE,
        Placement("together", fio=0, others=0),
        Placement("apart", fio=0, others=1),
        Placement("awake", awake=True),
        Placement("apart, awake", fio=0, others=1, awake=True),
    )
}


def check(placement: Placement) -> None:
    """Raises BenchmarkError when this host cannot do it."""
    if placement.others is not None and not {placement.fio, placement.others} <= _processors():
        raise BenchmarkError(f"placement {placement.name}: there is no second processor")
    if placement.others is not None and not os.access(_LOOP_WORKERS, os.W_OK):
        raise BenchmarkError(f"placement {placement.name}: {_LOOP_WORKERS} cannot be written")
    if placement.awake and not os.access(_LATENCY, os.W_OK):
        raise BenchmarkError(f"placement {placement.name}: there is no {_LATENCY}")


@contextmanager
def placed(placement: Placement, servers: Iterable[int]) -> Iterator[list[str]]:
    """For as long as it lasts; gives the words that go before fio's."""
    with ExitStack() as stack:
        if placement.others is not None:
            stack.enter_context(_loop_workers_on(placement.others))
            for pid in servers:
                stack.enter_context(_threads_on(pid, placement.others))
        if placement.awake:
            stack.enter_context(_awake())
        yield [] if placement.fio is None else ["taskset", "--cpu-list", str(placement.fio)]


def _processors() -> set[int | None]:
    return set(os.sched_getaffinity(0))


@contextmanager
def _threads_on(pid: int, processor: int) -> Iterator[None]:
    before = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        thread = int(task.name)
        before[thread] = os.sched_getaffinity(thread)
        os.sched_setaffinity(thread, {processor})
    try:
        yield
    finally:
        for thread, processors in before.items():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread, processors)


@contextmanager
def _loop_workers_on(processor: int) -> Iterator[None]:
    before = _LOOP_WORKERS.read_text()
    _LOOP_WORKERS.write_text(f"{1 << processor:x}\n")
    try:
        yield
    finally:
        _LOOP_WORKERS.write_text(before)


@contextmanager
def _awake() -> Iterator[None]:
    with _LATENCY.open("wb", buffering=0) as latency:
        latency.write(struct.pack("=i", 0))
        yield
