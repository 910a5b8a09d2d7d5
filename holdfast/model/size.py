"""Sizes in bytes, as people type and read them (powers of 1024)."""

from __future__ import annotations

import re

from holdfast.errors import InvalidSize

BLOCK_BYTES = 4096
"""Logical block of every volume: requests of the loop device are multiples of it."""

MINIMUM_VOLUME_BYTES = 16 << 20
MAXIMUM_VOLUME_BYTES = 16 << 40

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_PATTERN = re.compile(r"(\d{1,20})\s*([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)


def parse_amount(text: str) -> int:
    """Bytes of a number with a unit such as `2G`, or 0. Raises InvalidSize."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise InvalidSize(f"{text!r} is not a size", "Write a whole number and a unit, e.g. 2G.")
    return int(match[1]) * _UNITS[match[2].upper()]


def parse_size(text: str) -> int:
    """Bytes of a volume size such as `2G`; a multiple of 4096 within the limits.

    Raises InvalidSize for anything else: zero, exabytes, fractions, nonsense.
    """
    size_bytes = parse_amount(text)
    if size_bytes < MINIMUM_VOLUME_BYTES:
        raise InvalidSize(f"{text} is too small for a volume", "The smallest volume has 16M.")
    if size_bytes > MAXIMUM_VOLUME_BYTES:
        raise InvalidSize(f"{text} is too large for a volume", "The largest volume has 16T.")
    if size_bytes % BLOCK_BYTES:
        raise InvalidSize(f"{text} is not a multiple of 4096 bytes", "Round it to 4K.")
    return size_bytes


def format_size(size_bytes: int) -> str:
    """Short text for a number of bytes: 512 B, 4.0 KiB, 2.0 GiB."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    value = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1024 or unit == "TiB":
            return f"{value:.1f} {unit}"
    raise AssertionError("unreachable")
