"""What is reserved for objects is mapped already when they come into being."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
from holdfast.system.resources.memory import reserve_for_objects

def mapped():  # mebibytes in maps without a name
    found = set()
    with open("/proc/self/maps") as file:
        for line in file:
            begin, end = (int(word, 16) for word in line.split()[0].split("-"))
            if len(line.split()) == 5 and end - begin >= 1 << 20:
                found |= set(range(begin >> 20, end >> 20))
    return found

gc.disable()
kept = []
kept.append(reserve_for_objects(RESERVED))
before = mapped()
objects = [bytes(number % 400) for number in range(1 << 12)]
print(len(mapped() - before))
"""


def arenas_mapped(reserved_bytes: int) -> int:
    """How many mebibytes were mapped for a megabyte of objects."""
    program = PROGRAM.replace("RESERVED", str(reserved_bytes))
    return int(subprocess.check_output([sys.executable, "-c", program]))


def test_no_map_is_made_for_objects_that_have_room() -> None:
    assert arenas_mapped(0) > 0, "this many objects need more than was mapped"
    assert arenas_mapped(2 << 20) == 0
