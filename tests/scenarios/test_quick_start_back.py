"""README's third block, run exactly as it stands there: back to a moment, under its application."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

MOUNT = Path("/srv/books")
BLOCK_SECONDS = 200.0


@pytest.fixture
def nothing_there(holdfast_home: Path) -> Iterator[Path]:
    """The block's own paths are free before, and free again when it failed half-way."""
    for path in (MOUNT, *Path("/var/tmp").glob("books*")):
        assert not path.exists(), f"{path} is in the way: what README's third block makes"
    yield holdfast_home
    if MOUNT.is_mount():
        command = [sys.executable, "-m", "holdfast.cli", "volume", "delete", "books", "--yes"]
        subprocess.run(command, check=False)
    if MOUNT.exists() and not MOUNT.is_mount():
        MOUNT.rmdir()
    for path in Path("/var/tmp").glob("books*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def block() -> str:
    """The block of commands under the heading."""
    text = (REPOSITORY / "README.md").read_text()
    match = re.search(r"^## Go back to .*?^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert match, "README has no block of commands that goes back"
    return match[1]


def test_keep_lose_come_back(nothing_there: Path) -> None:
    shown = subprocess.run(
        ["bash", "-e"],
        input=block(),
        capture_output=True,
        text=True,
        check=False,
        timeout=BLOCK_SECONDS,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "what is owed\n" in shown.stdout
    said = r"books is restored: (1 process|2 processes) waited "  # the shell, mostly its `sleep`
    assert re.search(said, shown.stderr), shown.stderr
    assert not MOUNT.exists()
    assert not list(Path("/var/tmp").glob("books*"))
