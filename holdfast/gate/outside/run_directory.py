"""What a gate leaves in the run directory when it ends."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from holdfast.gate.log.ring import FILE_NAME, holds_records


def remove_run_directory(run_directory: Path) -> None:
    """Remove it, except for writes that no leg has flushed: the next gate needs them. Idempotent.
    Never fails."""
    if not holds_records(run_directory / FILE_NAME):
        shutil.rmtree(run_directory, ignore_errors=True)
        return
    for each in run_directory.iterdir():
        if each.name != FILE_NAME:
            with suppress(OSError):
                each.unlink()
