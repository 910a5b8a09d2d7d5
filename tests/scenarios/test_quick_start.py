"""README's quick start, run exactly as it stands there, does what README says of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

MOUNT = Path("/srv/shop")
IMAGES = (Path("/var/tmp/shop-a.img"), Path("/var/tmp/shop-b.img"))
QUICK_START_SECONDS = 120.0


@pytest.fixture
def nothing_there(holdfast_home: Path) -> Iterator[Path]:
    """The block's own paths are free before, and free again when it failed half-way."""
    for path in (MOUNT, *IMAGES):
        assert not path.exists(), f"{path} is in the way: what README's quick start makes"
    yield holdfast_home
    for path in IMAGES:
        path.unlink(missing_ok=True)
    if MOUNT.exists() and not MOUNT.is_mount():
        MOUNT.rmdir()


def quick_start() -> str:
    """The first block of commands under the heading."""
    text = (REPOSITORY / "README.md").read_text()
    match = re.search(r"^## Quick start$.*?^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert match, "README has no block of commands under Quick start"
    return match[1]


def test_create_use_break_look(nothing_there: Path) -> None:
    commands = quick_start()
    shown = subprocess.run(
        ["bash", "-e"],
        input=commands,
        capture_output=True,
        text=True,
        check=False,
        timeout=QUICK_START_SECONDS,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    receipts = [line for line in shown.stdout.splitlines() if " failover " in line]
    assert len(receipts) == 1, shown.stdout
    assert "continued, degraded: 1 of 2 legs in sync" in receipts[0]
    assert re.search(r" ms +0 +leg 1 \S+ drill leg-eio$", receipts[0]), receipts[0]
    assert "dd: " not in shown.stderr, "the application saw an error"
    assert not MOUNT.exists()
    assert not any(image.exists() for image in IMAGES)


def test_it_takes_four_commands_to_see_a_receipt() -> None:
    lines = quick_start().replace("\\\n", "").split("# Clean up")[0].splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert [command.split()[0] for command in commands] == ["holdfast", "while", *["holdfast"] * 2]
