"""The systemd journal: one datagram for each record, in its native protocol. Never waits.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

PATH = "/run/systemd/journal/socket"

MOST_BYTES = 64 << 10
"""Of one value: a datagram has to fit into the socket's buffer (net.core.wmem_default, 208 KiB)."""


def is_there(path: str = PATH) -> bool:
    """Whether a journal takes records on this host."""
    return os.path.exists(path)  # noqa: PTH110 - a plain system call


def send(fields: Mapping[str, str], path: str = PATH) -> bool:
    """Hand over one record; False when the journal does not take it now."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(datagram(fields), path)
        return True
    return False


def datagram(fields: Mapping[str, str]) -> bytes:
    """The record in the native protocol: a value with line breaks is preceded by its length."""
    parts = []
    for name, text in fields.items():
        value = text.encode(errors="replace")[:MOST_BYTES]
        if b"\n" in value:
            parts.append(name.encode() + b"\n" + len(value).to_bytes(8, "little") + value)
        else:
            parts.append(name.encode() + b"=" + value)
    return b"\n".join(parts) + b"\n"
