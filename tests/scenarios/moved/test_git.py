"""git clones a repository onto a volume that is moved below it; every clone is whole."""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.scenarios.moved.moving import move_under_load, run, stopped_copy
from tests.waiting import wait_until

FILES = 1500
COMMITS = 30
_CLONE_SECONDS = 240.0
_ARRIVED_BYTES = (1 << 20, 8 << 20, 20 << 20)
"""Of some 30 MB: how much each clone has got, in turn, when the volume below it is moved."""


def test_every_clone_is_whole(ram_directory: Path) -> None:
    origin = _repository(ram_directory / "origin.git")
    tree = run("git", "-C", origin, "rev-parse", "main^{tree}")
    with stopped_copy(ram_directory) as mover, _Turnstiles(ram_directory) as turnstiles:

        def load(done: Callable[[], bool]) -> None:
            for number in itertools.count():
                if done():
                    break
                clone = mover.path / f"clone-{number}"
                slow = turnstiles.slow(_ARRIVED_BYTES[number % len(_ARRIVED_BYTES)])
                _git("clone", "--quiet", *slow, f"file://{origin}", clone, folder=mover.path)
                _git("-C", clone, "fsck", "--full")
                assert _git("-C", clone, "status", "--porcelain") == ""
                assert _git("-C", clone, "rev-parse", "HEAD^{tree}") == tree
                shutil.rmtree(clone)

        moves = move_under_load(mover, load, turnstiles.serve_one, let_go=turnstiles.serve_all)
        assert all("git" in moved.processes for moved in moves), moves


class _Turnstiles:
    """Two places at which a clone waits, in open(2) of a FIFO, until the test lets it through.

    The origin has sent it a part of the data; the clone is complete, and git would end. Between the
    two it works as fast as it can, and that is when the volume is moved: no other program begins
    to use it. It is there all the time, with its working directory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rest, self._end = folder / "rest", folder / "end"
        self._hooks = folder / "hooks"
        self._held_open: list[int] = []

    def __enter__(self) -> Self:
        for fifo in (self._rest, self._end):
            os.mkfifo(fifo)
        self._hooks.mkdir()
        _write_program(self._hooks / "post-checkout", f": <{self._end}")
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._held_open:
            os.close(descriptor)

    def slow(self, arrived_bytes: int) -> tuple[str, ...]:
        """Options of a clone that waits when it has got so much, and again at its end."""
        program = self._folder / f"upload-pack-{arrived_bytes}"
        head = f"stdbuf -o0 head -c {arrived_bytes}"
        _write_program(program, f'cd /; git upload-pack "$@" | {{ {head}; : <{self._rest}; cat; }}')
        return f"--upload-pack={program}", f"--config=core.hooksPath={self._hooks}"

    def serve_one(self) -> None:
        """Let the one before end; wait until another has got some data, and give it the rest."""

        def another_goes_on() -> bool:
            _let_through(self._end)
            return _let_through(self._rest)

        wait_until(another_goes_on, "no clone began", timeout_seconds=_CLONE_SECONDS)

    def serve_all(self) -> None:
        """From now on nobody waits."""
        flags = os.O_RDWR | os.O_CLOEXEC
        self._held_open = [os.open(fifo, flags) for fifo in (self._rest, self._end)]


def _write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _let_through(fifo: Path) -> bool:
    """Whether somebody waited there for a writer."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    return True


def _repository(path: Path) -> Path:
    """One with a history, and with data that does not compress."""
    run("git", "init", "--quiet", "--bare", "--initial-branch=main", path)
    choice = random.Random(3)
    parts = [b"reset refs/heads/main\n"]
    for commit in range(COMMITS):
        words = b"commit %d" % commit
        parts.append(
            b"commit refs/heads/main\ncommitter Test <test@example.org> %d +0000\ndata %d\n%s\n"
            % (1700000000 + commit, len(words), words)
        )
        for number in range(FILES // COMMITS):
            data = choice.randbytes(choice.randrange(1000, 40000))
            name = f"folder/{number % 20}/{commit}-{number}.bin".encode()
            parts.append(b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(data), data))
    command = ["git", "-C", str(path), "fast-import", "--quiet"]
    subprocess.run(command, input=b"".join(parts), check=True, timeout=60)
    return path


def _git(*words: object, folder: Path = Path("/")) -> str:
    """Run git, in a directory that is not on the volume by default."""
    environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=_CLONE_SECONDS,
    )
    assert done.returncode == 0, f"git {words}: {done.stdout} {done.stderr}"
    assert "error" not in done.stderr.lower(), done.stderr
    return done.stdout.strip()
