"""fio does the asking and the measuring: what it is told, and what its report says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FILE_MIB = 256
"""All requests fall into so much, which is written before."""

DEPTHS = (1, 8, 32)
ENGINES = ("io_uring", "libaio")
_BLOCK_BYTES = 4096
_NS_PER_US = 1000.0


@dataclass(frozen=True)
class Load:
    """One kind of request, so many of them under way at once."""

    name: str
    depth: int
    direction: str
    """read or write"""
    durable: bool = False
    """An fdatasync follows each write; by plain system calls, one after the other."""

    def options(self, path: Path, seconds: float, engine: str) -> list[str]:
        """What fio is told; `path` is there already, with FILE_MIB in it."""
        return [
            "--name=work",
            "--output-format=json",
            f"--filename={path}",
            f"--size={FILE_MIB}M",
            f"--rw=rand{self.direction}",
            f"--bs={_BLOCK_BYTES}",
            "--direct=1",
            f"--ioengine={'psync' if self.durable else engine}",
            *(["--fdatasync=1"] if self.durable else []),
            f"--iodepth={self.depth}",
            "--lat_percentiles=1",
            "--time_based",
            f"--runtime={round(seconds * 1000)}ms",
        ]


READS = tuple(Load("4K random read", depth, "read") for depth in DEPTHS)
WRITES = tuple(Load("4K random write", depth, "write") for depth in DEPTHS)
DURABLE = Load("4K random write + fdatasync", 1, "write", durable=True)
LOADS = (*READS, *WRITES, DURABLE)
PLACEMENT_LOADS = (READS[0], READS[-1], WRITES[0], DURABLE)


@dataclass(frozen=True)
class Sample:
    """One round of one subject. Times in microseconds."""

    requests: int
    per_second: float
    p50_us: float
    p99_us: float
    p999_us: float
    """Of a durable write: of its fdatasync alone."""
    fio_us: float
    """Processor time per request of fio's own thread; the kernel's io_uring threads are not in."""
    server_us: float = 0.0
    kernel_us: float = 0.0
    """See processor_time.Spent."""


def layout_options(path: Path) -> list[str]:
    """What fio is told to write the file that the loads work on."""
    return [
        "--name=layout",
        f"--filename={path}",
        "--rw=write",
        "--bs=1M",
        f"--size={FILE_MIB}M",
        "--fallocate=none",
        "--end_fsync=1",
    ]


def parse(output: str, load: Load) -> Sample:
    """fio's report. Raises ValueError when it answered nothing."""
    job = json.loads(output[output.index("{") :])["jobs"][0]
    asked = job[load.direction]
    requests = int(asked["total_ios"])
    if not requests:
        raise ValueError("fio has had no answer")
    waits = (job["sync"] if load.durable else asked)["lat_ns"]["percentile"]
    busy_us = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] * 1000
    return Sample(
        requests,
        float(asked["iops"]),
        waits["50.000000"] / _NS_PER_US,
        waits["99.000000"] / _NS_PER_US,
        waits["99.900000"] / _NS_PER_US,
        busy_us / requests,
    )
