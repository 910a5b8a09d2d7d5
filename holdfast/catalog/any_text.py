"""Text that takes any name that Linux gives: SQLite's own takes UTF-8 only.

Names of files may have any bytes, which Python shows as lone surrogates (os.fsdecode). Invariant:
what is written is read as it was. Text stays text for every other reader of the file; what is not
UTF-8 is kept as bytes (a BLOB).
"""

from __future__ import annotations


def encoded(text: str) -> str | bytes:
    """What is written for it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape")
    return text


def decoded(data: bytes) -> str:
    """What is read, whatever its bytes are: damage is judged by who reads the row."""
    return data.decode(errors="surrogateescape")
