"""Page-out gives memory back, says how much is resident before and after, and loses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.kernel.freezer.bench import freeze_bench

SIZE = 32 << 20
PROGRAM = """
import mmap, os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
memory = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
print(sum(memory[::4096]), flush=True)
sys.stdin.readline()
print(sum(memory[::4096]), flush=True)
"""


def test_clean_pages_of_a_file_go(ram_directory: Path, disk_directory: Path) -> None:
    """Without swap these are the only ones that can."""
    file = disk_directory / "mapped"
    with file.open("wb") as stream:
        stream.write(bytes(range(256)) * (SIZE // 256))
    subprocess.run(["sync", file], check=True)
    with freeze_bench(ram_directory) as bench:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(file)],
            cwd=bench.mount,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            first = process.stdout.readline()
            (entry,) = bench.freeze("page-out").processes
            memory = entry["memory"]
            assert memory["asked_bytes"] >= SIZE
            assert memory["before_bytes"] >= SIZE
            assert memory["after_bytes"] < memory["before_bytes"] - SIZE // 2
            bench.thaw()
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == first
        finally:
            process.kill()
            process.communicate()
