"""The file of what is owed for bad places: these writes were acknowledged, and no leg can take
them.

Owns `owed.json` in the state directory. Invariants: before a flush is answered, everything owed is
in the file; what the legs have received since is taken out after the legs were flushed and before
that flush is answered. So after a power cut nothing in it is older than what was flushed. It is
valid as long as the newest superblocks belong to a gate that it names; otherwise somebody else has
used the volume since.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from holdfast.gate.data.owing.owed import MOST_UNITS
from holdfast.gate.members.epoch_memory import STATE
from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.shared_page import OWED_FILE
from holdfast.model.bounded import NewerFormat, read_object, whole
from holdfast.model.size import MAXIMUM_VOLUME_BYTES
from holdfast.system.files.durable import replace_durably, sync_directory

FILE_NAME = "owed.json"
VERSION = 1
MOST_UNIT_BYTES = 64 << 10
"""Far more than the largest sector of any volume."""


class OwedFile:
    """Of one worker. One thread at a time changes it; a thread that was given up in it still
    counts."""

    def __init__(
        self, state_directory: Path, volume_id: str, owner: str, cells: memoryview
    ) -> None:
        """`owner`: of this gate's superblocks."""
        self._path = state_directory / FILE_NAME
        self._volume_id = volume_id
        self._owner = owner
        self._owners = [owner]
        """Owners in the file: whose superblocks were the newest when it was written."""
        self._cells = cells
        self._contents: dict[int, bytes] | None = None
        """Its contents; None: not read yet."""
        self._lock = threading.Lock()
        self._is_changing = False

    @property
    def may_exist(self) -> bool:
        """Whether such a file may exist."""
        return bool(self._cells[OWED_FILE])

    def change(self, hand: Hand, change: Callable[[dict[int, bytes]], dict[int, bytes]]) -> str:
        """Replace its contents, by offset, durably. The reason when that failed, empty when it did
        not.

        Blocks as the state directory does. Raises GivenUp; nobody changes the file then until the
        thread that was given up has ended.
        """
        with self._lock:
            if self._is_changing:
                return "an earlier attempt has not been answered"
            self._is_changing = True
        hand.enter(STATE)
        try:
            problem = self._changed(change)
        finally:
            self._is_changing = False
        hand.leave()
        return problem

    def _changed(self, change: Callable[[dict[int, bytes]], dict[int, bytes]]) -> str:
        """The problem."""
        before, self._contents = self._contents, None
        try:
            if before is None:
                before = self._load() if self.may_exist else {}
            after = change(before)
            if after != before or self._owners != [self._owner]:
                self._owners = [self._owner]
                self._save(after)
        except OSError as error:
            return error.strerror or str(error)
        except ValueError as error:
            return str(error)
        self._contents = after
        return ""

    def find(
        self, hand: Hand, owners: Collection[str], unit_bytes: int, size_bytes: int
    ) -> dict[int, bytes]:
        """What it says when a gate starts, contents by offset; nothing unless it is of one of these
        owners. From now on it is of this gate as well, durably. `unit_bytes`: of each content;
        `size_bytes`: of the volume. Raises OSError, ValueError when it is damaged."""
        with hand.inside(STATE):
            self._cells[OWED_FILE] = int(self._path.exists())
            if not self.may_exist:
                return {}
            units = self._load()
            if not units or not set(self._owners) & set(owners):
                return {}
            for offset, content in units.items():
                if offset % unit_bytes or len(content) != unit_bytes or offset >= size_bytes:
                    raise ValueError(f"there is no such unit at {offset}")
            if self._owner not in self._owners:
                self._owners.append(self._owner)
                self._save(units)
            return units

    def _save(self, units: dict[int, bytes]) -> None:
        """Durable. Raises OSError."""
        if units:
            self._cells[OWED_FILE] = 1
            texts = {str(offset): base64.b64encode(units[offset]).decode() for offset in units}
            said = {"format": VERSION, "volume_id": self._volume_id, "owners": self._owners}
            replace_durably(self._path, json.dumps(said | {"units": texts}))
            return
        with suppress(FileNotFoundError):
            self._path.unlink()
            sync_directory(self._path.parent)
        self._cells[OWED_FILE] = 0

    def _load(self) -> dict[int, bytes]:
        """Nothing where it is of another volume, or there is none. Raises OSError, ValueError."""
        try:
            said = read_object(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        version = whole(said.get("format"), "format")
        if version > VERSION:
            raise NewerFormat(str(self._path), version, VERSION)
        units, whose, owners = (said.get(key) for key in ("units", "volume_id", "owners"))
        if not isinstance(units, dict) or len(units) > 2 * MOST_UNITS or not isinstance(whose, str):
            raise ValueError("it does not say what is owed")
        if not isinstance(owners, list) or not all(isinstance(each, str) for each in owners):
            raise ValueError("it does not say whose it is")
        if whose != self._volume_id:
            return {}
        self._owners = owners
        return {_offset(place): _content(content) for place, content in units.items()}


def _offset(place: str) -> int:
    if not (place.isascii() and place.isdecimal()) or len(place) > len(str(MAXIMUM_VOLUME_BYTES)):
        raise ValueError(f"{place[:40]!r} is no offset")
    return whole(int(place), "an offset", most=MAXIMUM_VOLUME_BYTES)


def _content(content: object) -> bytes:
    if not isinstance(content, str) or len(content) > 2 * MOST_UNIT_BYTES:
        raise ValueError("a unit is no text")
    return base64.b64decode(content, validate=True)
