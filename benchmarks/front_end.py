"""How much of a plain loop device the front end itself leaves, before any work is done.

Raw 4 KiB reads of the loop device, one at a time: over the image, over a server that answers
without any I/O, and over Holdfast. The second bounds what a gate in Python can reach here.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.commands import run, start
from benchmarks.comparison import Comparison, say
from benchmarks.subjects import (
    IMAGE_BYTES,
    ONE_LEG,
    PLAIN,
    HoldfastVolume,
    make_image,
    remove_folder,
    serving,
)

SILENT = "server without I/O"
RAW_READ = "4K raw read of the loop device, depth 1"


def front_end(parent: Path, rounds: int, seconds: float) -> Comparison:
    """Measure in turns; everything is cleaned up."""
    comparison = Comparison("the front end (RAM)", {RAW_READ: "1/s"})
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="hf-front-", dir=parent))
        stack.callback(remove_folder, folder)
        image = make_image(folder)
        image.write_bytes(bytes(1 << 20) * (IMAGE_BYTES >> 20))
        served = folder / "served"
        words = (sys.executable, "-m", "benchmarks.silent_server", served, str(IMAGE_BYTES))
        stack.enter_context(serving(served, [start(*words, log=folder / "log")]))
        leg = f"file:{folder}/leg.img"
        volume = stack.enter_context(HoldfastVolume(folder, [leg], "none"))
        devices = {
            PLAIN: stack.enter_context(_loop(image)),
            SILENT: stack.enter_context(_loop(served)),
            ONE_LEG: str(volume.show()["device"]),
        }
        figures = comparison.figures.setdefault(RAW_READ, {name: [] for name in devices})
        for turn in range(rounds):
            for name, device in devices.items():
                value = _raw_reads(device, seconds)
                figures[name].append(value)
                say(f"{comparison.place}, round {turn + 1}: {name}: {value:.0f}")
    return comparison


@contextmanager
def _loop(backing: Path) -> Iterator[str]:
    options = ("--direct-io=on", "--sector-size=4096", "--find", "--show")
    device = run("losetup", *options, backing).strip()
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


def _raw_reads(device: str, seconds: float) -> float:
    output = run(
        "fio",
        "--name=raw",
        "--output-format=json",
        f"--filename={device}",
        "--readonly",
        "--direct=1",
        "--rw=randread",
        "--bs=4k",
        "--time_based",
        f"--runtime={seconds}s",
    )
    return float(json.loads(output)["jobs"][0]["read"]["iops"])
