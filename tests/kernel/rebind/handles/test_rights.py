"""Other contents take the place of the old ones: nobody gets what he could not have opened."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

NOBODY, SOMEBODY = 65534, 65533
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")

READER = """
import os, sys
folder = sys.argv[1]
files = {0: int(sys.argv[2])} if len(sys.argv) > 2 else {0: os.open(folder + "/u/file", os.O_RDWR)}
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(os.pread(files[0], 100, 0).decode() or "end", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


def fill(folder: Path, owner: int, mode: int, of_folder: int) -> None:
    (folder / "u").mkdir()
    (folder / "u/file").write_text("mine")
    (folder / "u/file").chmod(mode)
    os.chown(folder / "u/file", owner, owner)
    os.chown(folder / "u", of_folder, of_folder)


def test_what_it_could_not_open_it_does_not_get(bench: Bench, start: Hold) -> None:
    """Names were exchanged before the handles were noted, and the backup has root's file there."""
    fill(bench.path, NOBODY, 0o600, NOBODY)
    program = start(*AS_NOBODY, sys.executable, "-c", READER, bench.path)

    def replace(folder: Path) -> None:
        (folder / "u/file").write_text("root's")
        os.chown(folder / "u/file", 0, 0)

    (line,) = bench.move("ext4", replace)
    assert line.outcome is HandleOutcome.FILE_MISSING
    assert program.ask() == os.strerror(107)


@pytest.mark.parametrize(
    ("owner", "mode"),
    [(NOBODY, 0o600), (NOBODY, 0o400), (SOMEBODY, 0o666)],
    ids=["its own", "its own, not to be written", "everybody's"],
)
def test_what_it_can_open_it_gets(bench: Bench, start: Hold, owner: int, mode: int) -> None:
    fill(bench.path, NOBODY, 0o600, NOBODY)
    program = start(*AS_NOBODY, sys.executable, "-c", READER, bench.path)

    def older(folder: Path) -> None:
        (folder / "u/file").write_text("older")
        (folder / "u/file").chmod(mode)
        os.chown(folder / "u/file", owner, owner)

    (line,) = bench.move("xfs", older)
    assert line.outcome is HandleOutcome.ROLLED_BACK
    assert program.ask() == "older"


def leave(folder: Path) -> None:
    """The backup is what it was."""


def give_away(folder: Path) -> None:
    (folder / "u/file").chmod(0o640)


@pytest.mark.parametrize(
    ("of_folder", "change", "outcome"),
    [
        (0, leave, HandleOutcome.IDENTICAL),
        (SOMEBODY, leave, HandleOutcome.FILE_MISSING),
        (0, give_away, HandleOutcome.FILE_MISSING),
    ],
    ids=["root alone can name it", "somebody else can name it", "it is another one"],
)
def test_what_root_gave_it(
    bench: Bench,
    start: Hold,
    of_folder: int,
    change: Callable[[Path], None],
    outcome: HandleOutcome,
) -> None:
    """A descriptor that it inherited from a privileged parent, like a log file of root's."""
    bench.path.chmod(0o755)
    fill(bench.path, 0, 0o600, of_folder)
    file = os.open(bench.path / "u/file", os.O_RDWR)
    try:
        program = start(
            *AS_NOBODY, sys.executable, "-c", READER, bench.path, str(file), pass_fds=(file,)
        )
    finally:
        os.close(file)
    (line,) = bench.move("ext4", change)
    assert line.outcome is outcome
    assert (program.ask() == "mine") is (outcome is HandleOutcome.IDENTICAL)
