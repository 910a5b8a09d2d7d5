"""A bench, the program that holds every kind of handle, and a way to start it that cleans up."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.rebind.bench import Bench, Program

SOURCES = Path(__file__).parents[2] / "programs"
Hold = Callable[..., Program]

_LIBRARIES = ("/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2")


@pytest.fixture(scope="session")
def holder(program_folder: Path) -> Path:
    """holder.c, compiled; everybody may execute it."""
    program = program_folder / "holder"
    subprocess.run(["gcc", "-O2", "-pthread", "-o", program, SOURCES / "holder.c"], check=True)
    program.chmod(0o755)
    return program


@pytest.fixture
def bench(ram_directory: Path) -> Iterator[Bench]:
    """An ext4 file system, mounted."""
    for path in (ram_directory, ram_directory.parent):
        path.chmod(0o755)
    made = Bench(ram_directory)
    yield made
    made.close()


@pytest.fixture
def start(bench: Bench) -> Iterator[Hold]:
    """`start("python", "x.py")` starts a program; all end before the file system goes."""
    programs: list[Program] = []

    def begin(*command: str | Path, **options: object) -> Program:
        programs.append(Program(command, **options))
        return programs[-1]

    yield begin
    for program in programs:
        program.close()


@pytest.fixture
def hold(bench: Bench, holder: Path, start: Hold) -> Hold:
    """`hold("file", "flock", within=("unshare", "--net"))` starts holder on the bench.

    With the word "program" it runs from the file system, with libraries from there.
    """

    def begin(*words: str, within: tuple[str, ...] = ()) -> Program:
        command: list[str | Path] = [holder]
        if "program" in words:
            folder = bench.path / "bin"
            if not folder.exists():
                folder.mkdir()
                for file in (holder, *_LIBRARIES):
                    shutil.copy(file, folder)
            loader = folder / "ld-linux-x86-64.so.2"
            command = [loader, "--library-path", folder, folder / "holder"]
        program = start(*within, *command, bench.path, *words)
        program.verify()
        return program

    return begin
