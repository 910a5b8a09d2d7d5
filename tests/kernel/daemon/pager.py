"""A daemon that runs, and what whoever is told gets: `daemon`, `pager_in`, `told`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def daemon(interval: str = "200ms") -> Iterator[subprocess.Popen[bytes]]:
    """It runs; killed at the end."""
    command = [str(Path(sys.executable).with_name("holdfast")), "daemon", "--interval", interval]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            assert b"watching" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def pager_in(folder: Path, log: Path) -> Path:
    """A program that writes down what it is told."""
    pager = folder / "pager"
    pager.write_text(f"#!/bin/sh\ncat >> {log}\necho >> {log}\n")
    pager.chmod(0o755)
    return pager


def told(log: Path) -> list[dict[str, Any]]:
    """What has arrived, in order."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
