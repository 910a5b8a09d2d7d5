"""Which positions of a history copies that follow still need: a file in the gate's state directory.

Written by whoever brings copies on, read by the gate before it removes anything. Invariant: it is
replaced whole; one of another volume, or that cannot be read, says nothing new.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.model.bounded import read_object, whole
from holdfast.system.files.durable import replace_durably, sync_directory

FILE_NAME = "needed-history.json"
_MOST_BYTES = 64 << 10
_MOST_COPIES = 1000


class NeededPositions:
    """As one gate knows them. A thread that hangs in the state directory hangs alone: whoever takes
    its place gets what was known last."""

    def __init__(self, state_directory: Path, volume_id: str) -> None:
        self._path = state_directory / FILE_NAME
        self._volume_id = volume_id
        self._last: tuple[int, ...] = ()
        self._is_read = False
        """Whether a thread is at it."""

    def __call__(self) -> tuple[int, ...]:
        """Now; as they were known last where that cannot be read. Never raises."""
        if self._is_read:
            return self._last
        self._is_read = True
        try:
            self._last = self._read()
        finally:
            self._is_read = False
        return self._last

    def _read(self) -> tuple[int, ...]:
        try:
            values = read_object(self._path.read_bytes(), _MOST_BYTES)
            found = values["positions"]
            is_ours = values["volume_id"] == self._volume_id
            if not isinstance(found, list) or len(found) > _MOST_COPIES:
                raise ValueError("it has no positions")
            return tuple(whole(each, "position") for each in found) if is_ours else ()
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError):
            return self._last


def note_needed(state_directory: Path, volume_id: str, positions: Sequence[int]) -> None:
    """Have a gate know them; durable. Nothing where there is no such gate. Raises OSError."""
    path = state_directory / FILE_NAME
    if not positions:
        with suppress(FileNotFoundError):
            path.unlink()
            sync_directory(state_directory)
        return
    text = json.dumps({"volume_id": volume_id, "positions": sorted(positions)[:_MOST_COPIES]})
    with suppress(FileNotFoundError):
        if path.read_text() == text:
            return
    if state_directory.is_dir():
        replace_durably(path, text)
