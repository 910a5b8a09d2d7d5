"""Programs of Java and Go on a volume that is migrated: goroutines, threads, maps, locks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.scenarios.moved.moving import SHORT_WITH_COMMANDS, migration, move_in_turn, run, started
from tests.scenarios.moved.programs import needed
from tests.soak import rounds
from tests.waiting import wait_until

SOURCES = REPOSITORY / "tests/programs"
ROUNDS_BETWEEN = 20


def test_java_goes_on(ram_directory: Path, run_holdfast: Callable[..., Any]) -> None:
    java, _ = needed("java", "javac")
    with migration(ram_directory, run_holdfast) as mover:
        quick = ["-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"]  # it runs for a second
        run("javac", *quick, "-d", mover.path, SOURCES / "Moved.java")
        temporary = f"-Djava.io.tmpdir={mover.path}"
        # The heap is a map of a file without a name there; the classes come from the volume.
        heap = ["-XX:+UnlockExperimentalVMOptions", f"-XX:AllocateHeapAt={mover.path}"]
        words = [java, "-Xms64m", "-Xmx64m", *heap, temporary, "-cp", mover.path, "Moved"]
        _move(mover, [*words, mover.path], "java", ram_directory)


@pytest.mark.parametrize("architecture", ("amd64", "386")[: rounds(1, 2)])
def test_go_goes_on(
    ram_directory: Path, run_holdfast: Callable[..., Any], architecture: str
) -> None:
    (go,) = needed("go")
    with migration(ram_directory, run_holdfast) as mover:
        program = mover.path / "moved"
        # Nothing in it needs C, so it is static; the library is there compiled like that already.
        environment = ["env", "GO111MODULE=off", f"GOCACHE={ram_directory}/cache"]
        environment.append(f"GOARCH={architecture}")
        run(*environment, go, "build", "-o", program, SOURCES / "moved.go")
        _move(mover, [program, mover.path], "moved", ram_directory)


def _move(mover: Any, command: list[Any], name: str, outside: Path) -> None:
    """Move under a program that counts its rounds on standard output and verifies each."""
    output = outside / "output"
    with ExitStack() as stack:
        file = stack.enter_context(output.open("wb"))
        program = stack.enter_context(
            started(
                command,
                cwd=mover.path,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        )

        def done() -> int:
            return output.read_text().count("\n")

        def working() -> None:
            before = done()
            wait_until(lambda: done() >= before + ROUNDS_BETWEEN or program.poll() is not None)
            assert program.poll() is None, output.read_text()[-2000:]

        moves = move_in_turn(mover, working, SHORT_WITH_COMMANDS)
        assert all(name in moved.processes for moved in moves), moves
        program.communicate(timeout=60)
        assert program.returncode == 0, output.read_text()[-2000:]
        lines = output.read_text().splitlines()
        assert lines == [str(number) for number in range(1, len(lines))] + ["verified"], lines[-5:]
