"""What is done to each subject: every workload returns operations (or MiB) per second."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.commands import run
from benchmarks.postgresql import transactions

FILE_MIB = 256
COLD_MIB = 64
FILES = 4000
FILE_BYTES = 1000


@dataclass(frozen=True)
class Workload:
    """A name, a unit, and how to measure it in a directory, for so many seconds."""

    name: str
    unit: str
    measure: Callable[[Path, float], float]


def _fio(directory: Path, direction: str, field: str, *options: str) -> float:
    output = run(
        "fio",
        "--name=work",
        "--output-format=json",
        f"--directory={directory}",
        f"--size={FILE_MIB}M",
        "--fallocate=none",
        *options,
    )
    return float(json.loads(output)["jobs"][0][direction][field])


def sequential_write(directory: Path, seconds: float) -> float:
    """Write a file in 1 MiB pieces and fsync it once."""
    options = ("--rw=write", "--bs=1M", "--end_fsync=1", "--invalidate=1")
    return _fio(directory, "write", "bw_bytes", *options) / (1 << 20)


def sequential_read(directory: Path, seconds: float) -> float:
    """Read it back in 1 MiB pieces after the page cache has forgotten it."""
    options = ("--rw=read", "--bs=1M", "--invalidate=1")
    return _fio(directory, "read", "bw_bytes", *options) / (1 << 20)


def cold_read(directory: Path, seconds: float) -> float:
    """Read every 4 KiB block once, in random order, none of them in the page cache."""
    options = ("--rw=randread", "--bs=4k", "--invalidate=1", f"--io_size={COLD_MIB}M")
    return _fio(directory, "read", "iops", *options)


def warm_read(directory: Path, seconds: float) -> float:
    """Read random 4 KiB blocks that are in the page cache."""
    run("dd", f"if={directory}/work.0.0", "of=/dev/null", "bs=1M")
    options = ("--rw=randread", "--bs=4k", "--invalidate=0", "--time_based")
    return _fio(directory, "read", "iops", *options, f"--runtime={seconds}")


def durable_write(directory: Path, seconds: float) -> float:
    """Write a random 4 KiB block and fdatasync, one after the other."""
    options = ("--rw=randwrite", "--bs=4k", "--fdatasync=1", "--time_based")
    return _fio(directory, "write", "iops", *options, f"--runtime={seconds}")


def create_files(directory: Path, seconds: float) -> float:
    """Create small files in one directory."""
    folder = directory / "files"
    folder.mkdir()
    content = b"x" * FILE_BYTES
    began = time.monotonic()
    for number in range(FILES):
        descriptor = os.open(folder / str(number), os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(descriptor, content)
        os.close(descriptor)
    ended = time.monotonic()
    shutil.rmtree(folder)
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    return FILES / (ended - began)


# The first one leaves the file that the others read.
SEQUENTIAL_WRITE = Workload("1M sequential write", "MiB/s", sequential_write)
SEQUENTIAL_READ = Workload("1M sequential read, cold", "MiB/s", sequential_read)
COLD_READ = Workload("4K random read, cold", "/s", cold_read)
DURABLE_WRITE = Workload("4K write + fdatasync", "/s", durable_write)
WARM_READ = Workload("4K random read, warm", "/s", warm_read)
CREATE_FILES = Workload("create files", "/s", create_files)
PGBENCH = tuple(
    Workload(f"pgbench, {clients} clients", "tps", partial(transactions, clients=clients))
    for clients in (4, 16)
)

FILE_WORKLOADS = (
    SEQUENTIAL_WRITE,
    SEQUENTIAL_READ,
    COLD_READ,
    DURABLE_WRITE,
    WARM_READ,
    CREATE_FILES,
)
