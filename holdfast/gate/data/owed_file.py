"""What is owed for bad places, in a file: it is acknowledged, and no leg can take it.

Owns `owed.json` in the state directory. Replaced durably, as a whole, before a flush is answered;
so after a power cut it says what was owed at the last answered flush, or later.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from holdfast.gate.data.owed import MOST_UNITS
from holdfast.model.bounded import NewerFormat, read_object, whole
from holdfast.model.size import MAXIMUM_VOLUME_BYTES
from holdfast.system.files.durable import replace_durably, sync_directory

FILE_NAME = "owed.json"
VERSION = 1
MOST_UNIT_BYTES = 64 << 10
"""No volume has larger sectors by far."""


def save(path: Path, volume_id: str, units: Mapping[int, bytes]) -> None:
    """Contents by offset. Durable. Raises OSError."""
    said = {
        "format": VERSION,
        "volume_id": volume_id,
        "units": {str(offset): base64.b64encode(units[offset]).decode() for offset in units},
    }
    replace_durably(path, json.dumps(said))


def remove(path: Path) -> None:
    """Durable; idempotent. Raises OSError."""
    with suppress(FileNotFoundError):
        path.unlink()
        sync_directory(path.parent)


def load(path: Path, volume_id: str) -> dict[int, bytes]:
    """Contents by offset; nothing where it is of another volume, or there is none.

    Raises OSError; NewerFormat; ValueError when it is damaged.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    said = read_object(text)
    version = whole(said.get("format"), "format")
    if version > VERSION:
        raise NewerFormat(str(path), version, VERSION)
    units, whose = said.get("units"), said.get("volume_id")
    if not isinstance(units, dict) or len(units) > MOST_UNITS or not isinstance(whose, str):
        raise ValueError(f"{path} does not say what is owed")
    if whose != volume_id:
        return {}
    return {_offset(place): _content(content) for place, content in units.items()}


def _offset(place: str) -> int:
    if not place.isdecimal() or len(place) > len(str(MAXIMUM_VOLUME_BYTES)):
        raise ValueError(f"{place[:40]!r} is no offset")
    return whole(int(place), "an offset", most=MAXIMUM_VOLUME_BYTES)


def _content(content: object) -> bytes:
    if not isinstance(content, str) or len(content) > 2 * MOST_UNIT_BYTES:
        raise ValueError("a unit is no text")
    return base64.b64decode(content, validate=True)
