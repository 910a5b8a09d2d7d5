"""Reads the receipts that gates have dropped as files.

Owns the way from a spool directory to values. A gate never waits for the catalog: it writes one
JSON file per receipt and goes on. Must never delete a file whose receipt is not yet committed, and
never lose one that cannot be read: it is moved aside, for people to look at.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from holdfast.catalog.any_text import encoded
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import MOST_NUMBER, read_object
from holdfast.model.receipt import Receipt, receipt_from_json

BAD_SUFFIX = ".bad"


@dataclass(frozen=True)
class Ingested:
    """What one look into the spool brought."""

    receipts: int = 0
    """Receipts that were not in the catalog yet."""
    unreadable: tuple[Path, ...] = ()
    """Files moved aside, under their new names."""


def read_spool(directory: Path) -> tuple[list[tuple[Path, Receipt]], tuple[Path, ...]]:
    """Every readable receipt with its file, and the files that were moved aside.

    Idempotent; a directory that does not exist is an empty one. Raises OSError.
    """
    readable: list[tuple[Path, Receipt]] = []
    unreadable: list[Path] = []
    for path in sorted(directory.glob("*.json")):
        try:
            readable.append((path, _read(path)))
        except FileNotFoundError:
            continue  # another command ingested it in between
        except (ValueError, TypeError, KeyError, AttributeError):
            aside = path.with_name(path.name + BAD_SUFFIX)
            with suppress(FileNotFoundError):
                path.rename(aside)
                unreadable.append(aside)
    return readable, tuple(unreadable)


def _read(path: Path) -> Receipt:
    receipt = receipt_from_json(read_object(path.read_bytes()))
    for name in ("id", "volume", "strategy", "cause", "outcome", "verification"):
        value = getattr(receipt, name)
        if not isinstance(value, str):
            raise TypeError(f"{name} is not text")
        encoded(value)  # raises ValueError where the catalog could not take it
    numbers = ("started", "finished", "longest_wait_ms", "requests_held", "errors_returned")
    for name in (*numbers, "bytes_replayed"):
        value = getattr(receipt, name)
        if not isinstance(value, int | float):
            raise TypeError(f"{name} is not a number")
        if abs(value) > MOST_NUMBER:
            raise ValueError(f"{name} is too large")
    if not receipt.id:
        raise ValueError("the receipt has no id")
    return receipt
