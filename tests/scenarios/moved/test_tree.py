"""make in a tree of directories, rsync, a logger and logrotate while the volume is migrated.

They are started by shells that stand there, as those of a build host do.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.scenarios.moved.moving import (
    LONG,
    SHORT_WITH_COMMANDS,
    migration,
    move_in_turn,
    started,
)
from tests.scenarios.moved.programs import needed
from tests.waiting import wait_until

FOLDERS, FILES = 3, 3
COPIED_FILES, COPIED_BYTES = 12, 100_000

MAKEFILE = """
folders := $(wildcard source/*)
built := $(patsubst source/%,built/%,$(folders))
all: $(built)
built/%: source/%
\tmkdir -p $@/deep/er
\t$(MAKE) --silent --directory=$@/deep/er -f ../../../../one.mk from=../../../../$<
\tmkdir $@/passing; cd $@/passing; rmdir ../passing; sleep 0.05
clean:
\trm -r built
.PHONY: all clean
"""
ONE = """
results := $(notdir $(patsubst %.txt,%.sum,$(wildcard $(from)/*.txt)))
all: $(results)
%.sum: $(from)/%.txt
\tsha256sum < $< > $@.new; sleep 0.1
\tmv $@.new $@
"""
LOGGER = """
import os, signal, sys, time
going = again = True
def stop(*_):
    global going
    going = False
def anew(*_):
    global again
    again = True
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGHUP, anew)
number = 0
file = None
while going:
    if again:
        again = False
        file = open(sys.argv[1], "a", buffering=1)
    file.write(f"line {number}\\n")
    number += 1
    time.sleep(0.005)
print(number)
"""
ROTATION = """
{log} {{
    rotate 10000
    dateext
    dateformat -%s
    nocompress
    create 0600
    missingok
    postrotate
        kill -HUP {pid}
    endscript
}}
"""
AGAIN_AND_AGAIN = 'while [ ! -e "$0/stop" ]; do %s; echo done; done'
BUILDING = 'make --silent -j4; diff --recursive "$0/built" built; make --silent clean'
COPYING = (
    'rsync --archive --whole-file --delete --bwlimit=3m "$0/origin/" copy;'
    ' diff --recursive "$0/origin" copy; rm -r copy'
)
ROTATING = (
    'logrotate --force --state state "$0/rotation"; sleep 1.1;'  # they are named by the second
    " until [ -s log ]; do sleep 0.1; done"  # the logger has the new one
)


class Shell:
    """A shell that does the same again and again, until it is told to stop or something fails."""

    def __init__(self, process: subprocess.Popen[Any], output: Path) -> None:
        self._process = process
        self._output = output

    @property
    def count(self) -> int:
        """How often it was done. Fails the test when it has ended, or has anything else to say."""
        said = self._output.read_text()
        assert self._process.poll() is None, said
        assert set(said.split()) <= {"done"}, said
        return len(said.split())

    def finish(self) -> None:
        """Once it was told to stop."""
        assert self._process.wait(timeout=60) == 0, self._output.read_text()
        assert set(self._output.read_text().split()) == {"done"}, self._output.read_text()


@contextmanager
def _shell(work: str, folder: Path, outside: Path) -> Iterator[Shell]:
    environment = {**os.environ, "LC_ALL": "C"}
    environment.pop("MAKEFLAGS", None)
    output = outside / f"{folder.name}.output"
    command = ["bash", "-ec", AGAIN_AND_AGAIN % work, outside]
    with (
        output.open("wb") as file,
        started(command, cwd=folder, env=environment, stdout=file, stderr=file) as process,
    ):
        yield Shell(process, output)


def test_builds_copies_and_logs_are_whole(
    ram_directory: Path, run_holdfast: Callable[..., Any]
) -> None:
    needed("make", "rsync", "logrotate")
    with migration(ram_directory, run_holdfast) as mover, ExitStack() as stack:
        tree, logs, copies = (mover.path / name for name in ("tree", "logs", "copies"))
        _make_tree(tree, ram_directory / "built")
        _make_files(ram_directory / "origin")
        logs.mkdir(mode=0o700)
        copies.mkdir()
        log = logs / "log"
        pipes = {"stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", LOGGER, log]
        logger = stack.enter_context(started(command, cwd=logs, **pipes))
        wait_until(log.exists)
        rotation = ram_directory / "rotation"
        rotation.write_text(ROTATION.format(log=log, pid=logger.pid))
        works = ((BUILDING, tree), (COPYING, copies), (ROTATING, logs))
        shells = [
            stack.enter_context(_shell(work, folder, ram_directory)) for work, folder in works
        ]

        def working() -> None:
            """Each has got on, and both are in the middle of something."""
            before = [shell.count for shell in shells]
            wait_until(
                lambda: all(now.count > was for now, was in zip(shells, before, strict=True))
            )
            wait_until(lambda: (tree / "built").exists() and (copies / "copy").exists())

        moves = move_in_turn(mover, working, SHORT_WITH_COMMANDS)
        (ram_directory / "stop").touch()
        for shell in shells:
            shell.finish()
        stopped = {name for moved in moves for name in moved.processes}
        assert len(moves) < LONG or not stopped.isdisjoint({"make", "rsync"}), moves
        logger.send_signal(signal.SIGTERM)
        written = int(logger.communicate(timeout=20)[0])
        assert _lines(logs) == [f"line {number}" for number in range(written)]


def _make_tree(tree: Path, built: Path) -> None:
    """The sources, and what is to come of them."""
    for folder in range(FOLDERS):
        sources, results = tree / "source" / str(folder), built / str(folder) / "deep/er"
        sources.mkdir(parents=True)
        results.mkdir(parents=True)
        for number in range(FILES):
            data = os.urandom(COPIED_BYTES)
            (sources / f"{number}.txt").write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            (results / f"{number}.sum").write_text(f"{digest}  -\n")  # sha256sum(1) of its input
    (tree / "Makefile").write_text(MAKEFILE)
    (tree / "one.mk").write_text(ONE)


def _make_files(folder: Path) -> None:
    for number in range(COPIED_FILES):
        below = folder / str(number % 5) / "below"
        below.mkdir(parents=True, exist_ok=True)
        (below / str(number)).write_bytes(os.urandom(COPIED_BYTES))


def _lines(logs: Path) -> list[str]:
    """Every line of all logs, the oldest first."""
    paths = [*sorted(logs.glob("log-*")), logs / "log"]
    return [line for path in paths for line in path.read_text().splitlines()]
