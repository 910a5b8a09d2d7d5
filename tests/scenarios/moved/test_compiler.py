"""make and gcc build a program again and again on a volume that is moved below them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.scenarios.moved.moving import move_under_load, run, stopped_copy
from tests.waiting import wait_until

SOURCES = 40
SLOW_EVERY, SLOW_FUNCTIONS = 8, 400
"""Every so many files is one that takes a while; all others are done in an instant."""
_SLOW = """
static double slow_{number}(double x) {{
    for (int i = 0; i < 10; i++) x = x * {number} + (double)i / (x + {number});
    return x;
}}
static double (*volatile pointer_{number})(double) = slow_{number};
"""
_BUILD_SECONDS = 240.0
_MAKEFILE = """
objects := $(patsubst %.c,%.o,$(wildcard *.c))
program: $(objects)
\tgcc -o $@ $^
%.o: %.c numbers.h
\tgcc -O1 -g -c -o $@ $<
clean:
\trm -f $(objects) program
"""


def test_every_build_succeeds(ram_directory: Path) -> None:
    with stopped_copy(ram_directory) as mover:
        folder = mover.path / "source"
        _make_sources(folder)
        temporary = mover.path / "tmp"
        temporary.mkdir()
        environment = {**os.environ, "TMPDIR": str(temporary), "LC_ALL": "C"}
        builds = 0

        def build(*goals: str) -> None:
            done = subprocess.run(
                ["make", "-j2", "--silent", *goals],
                check=False,
                capture_output=True,
                text=True,
                cwd=folder,
                env=environment,
                timeout=_BUILD_SECONDS,
            )
            assert (done.returncode, done.stderr) == (0, ""), (done.stdout, done.stderr)

        def load(done: Callable[[], bool]) -> None:
            nonlocal builds
            while not done():
                build()
                assert run(folder / "program") == str(sum(range(SOURCES)))
                build("clean")
                builds += 1

        def working() -> None:
            wait_until(lambda: 2 < len(list(folder.glob("*.o"))) < SOURCES - 2)

        moves = move_under_load(mover, load, working)
        assert all("make" in moved.processes for moved in moves), moves
        assert {"cc1", "as", "ld", "gcc", "collect2"} & {
            name for moved in moves for name in moved.processes
        }
        assert builds
        assert list(temporary.iterdir()) == []


def _make_sources(folder: Path) -> None:
    """Many small files, and a program that adds up what each of them answers."""
    folder.mkdir()
    (folder / "Makefile").write_text(_MAKEFILE)
    declarations = "".join(f"int number_{n}(void);\n" for n in range(SOURCES))
    (folder / "numbers.h").write_text(declarations)
    for n in range(SOURCES):
        text = f"int number_{n}(void) {{ return {n}; }}\n"
        if n % SLOW_EVERY == 0:
            text += "".join(_SLOW.format(number=number) for number in range(SLOW_FUNCTIONS))
        text = f'#include <stdio.h>\n#include "numbers.h"\n{text}'
        (folder / f"number_{n}.c").write_text(text)
    calls = " + ".join(f"number_{n}()" for n in range(SOURCES))
    main = f'int main(void) {{ printf("%d\\n", {calls}); }}\n'
    (folder / "main.c").write_text(f'#include <stdio.h>\n#include "numbers.h"\n{main}')
