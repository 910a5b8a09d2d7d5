"""git clones a repository onto a volume that is moved below it; every clone is whole."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.scenarios.moving import move_under_load, run, stopped_copy
from tests.waiting import wait_until

FILES = 1500
COMMITS = 30
_CLONE_SECONDS = 240.0


def test_every_clone_is_whole(ram_directory: Path) -> None:
    origin = _repository(ram_directory / "origin.git")
    tree = run("git", "-C", origin, "rev-parse", "main^{tree}")
    with stopped_copy(ram_directory) as mover:
        clones: list[Path] = []

        def load(done: Callable[[], bool]) -> None:
            while not done():
                clone = mover.path / f"clone-{len(clones)}"
                clones.append(clone)
                _git("clone", "--quiet", f"file://{origin}", clone)
                _git("-C", clone, "fsck", "--full")
                assert _git("-C", clone, "status", "--porcelain") == ""
                assert _git("-C", clone, "rev-parse", "HEAD^{tree}") == tree
                shutil.rmtree(clone)

        def working() -> None:
            before = len(clones)
            wait_until(lambda: len(clones) > before and _at_work(clones[-1]))

        moves = move_under_load(mover, load, working)
        assert all("git" in moved.processes for moved in moves), moves


def _at_work(clone: Path) -> bool:
    """Data has begun to arrive, or the files are being written out."""
    return any((clone / ".git/objects/pack").glob("tmp_pack_*")) or (clone / "folder").exists()


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


def _git(*words: object) -> str:
    """Run git beside the moves: from a directory that is not on the volume."""
    environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env=environment,
        timeout=_CLONE_SECONDS,
    )
    assert done.returncode == 0, f"git {words}: {done.stdout} {done.stderr}"
    assert "error" not in done.stderr.lower(), done.stderr
    return done.stdout.strip()
