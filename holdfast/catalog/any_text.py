"""Text columns that take any name that Linux gives: SQLite's own take UTF-8 only.

Names of files may have any bytes, which Python shows as lone surrogates (os.fsdecode). Invariant:
what is written is read as it was. Text stays text for every other reader of the file; what is not
UTF-8 is kept as bytes (a BLOB).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text
from sqlalchemy.types import TypeDecorator


class AnyText(TypeDecorator[str]):
    """A column of text, in any bytes."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> Any:
        """What is written."""
        if not isinstance(value, str) or value.isascii():
            return value
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode(errors="surrogateescape")
        return value

    def process_result_value(self, value: Any, dialect: object) -> Any:
        """What is read; what is no text at all is left to whoever judges the row."""
        return decoded(value) if isinstance(value, bytes) else value


def decoded(data: bytes) -> str:
    """Text of a column, whatever its bytes are: damage is judged by who reads the row."""
    return data.decode(errors="surrogateescape")
