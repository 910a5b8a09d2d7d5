"""Each version has a folder of its own: what runs keeps its code, the next keeper is new."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import Cell
from tests.waiting import wait_until


@pytest.fixture
def installed(ram_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation with two versions, of which this process is the first."""
    root = ram_directory / "installed"
    site = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    for version in ("1", "2"):
        folder = root / "versions" / version
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").symlink_to(Path(sys.executable).resolve())
        (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
        (folder / site).mkdir(parents=True)
        (folder / site / "holdfast").symlink_to(Path(holdfast.__file__).parent)
    switch(root, "1")
    monkeypatch.setattr(sys, "executable", str(root / "versions" / "1" / "bin" / "python"))
    yield root


def switch(root: Path, version: str) -> None:
    new = root / "new"
    new.symlink_to(f"versions/{version}")
    new.rename(root / "current")


def program(bench: Bench) -> str:
    """The version that the keeper runs from."""
    command = Path(f"/proc/{bench.counters().keeper_pid}/cmdline").read_bytes()
    return Path(command.split(b"\0")[0].decode()).parents[1].name


def kill_keeper(bench: Bench) -> None:
    before = bench.counters().keeper_pid
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: bench.counters().keeper_pid != before)


def test_the_next_keeper_is_of_the_installed_version(
    settings: Settings, ram_directory: Path, installed: Path
) -> None:
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 2)) as bench:
        assert program(bench) == "1"
        with bench.during(Cell(2, "writing")) as goes_on:
            kill_keeper(bench)
            assert program(bench) == "1"
            switch(installed, "2")
            kill_keeper(bench)
            assert program(bench) == "2"
            goes_on()
        assert bench.gate.show()["errors_returned"] == 0
        bench.check(2)


@pytest.mark.parametrize("fault", ["ends", "no interpreter", "no code", "no version"])
def test_a_version_that_does_not_work_is_not_insisted_on(
    settings: Settings, ram_directory: Path, installed: Path, fault: str
) -> None:
    """A package that was unpacked by halves, say: the gate goes on with what it began with."""
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 2)) as bench:
        python = installed / "versions" / "2" / "bin" / "python"
        if fault == "ends":
            python.unlink()
            python.symlink_to("/bin/false")
        elif fault == "no interpreter":
            python.unlink()
            python.write_text("nothing that can be run")
            python.chmod(0o755)
        elif fault == "no code":
            next(python.parents[1].glob("lib/*/site-packages/holdfast")).unlink()
        switch(installed, "3" if fault == "no version" else "2")
        with bench.during(Cell(2, "writing")) as goes_on:
            before = bench.counters().keeper_pid
            os.kill(before, signal.SIGKILL)
            wait_until(lambda: bench.counters().keeper_pid != before and bench.answers())
            wait_until(lambda: program(bench) == "1" and bench.receipts() != [])
            goes_on()
        bench.check(2)
