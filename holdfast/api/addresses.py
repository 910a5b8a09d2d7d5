"""Where one listens by TCP."""

from __future__ import annotations

import ipaddress
import socket

from holdfast.errors import HostCannot, InvalidOption
from holdfast.late_dataclass import dataclass

_BACKLOG = 128
"""Connections that wait to be accepted; the kernel lets others wait to connect."""


@dataclass(frozen=True)
class Address:
    """Where it listens."""

    host: str
    """Of IP, without brackets."""
    port: int
    """0: any that is free."""

    @property
    def is_beyond(self) -> bool:
        """Whether other hosts could connect."""
        return not ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(text: str, example: str = "127.0.0.1:8520") -> Address:
    """`127.0.0.1:8520`, `[::1]:8520`, `:8520`, `8520`. Raises InvalidOption."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    try:
        number = int(port) if port.isascii() and port.isdecimal() else -1
        ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        if not 0 <= number <= 65535:
            raise ValueError
    except ValueError as error:
        raise InvalidOption(
            f"{text!r} is no address to listen at", f"Write ADDRESS:PORT, such as {example}."
        ) from error
    return Address("127.0.0.1" if host == "localhost" else host, number)


def bound(address: Address, command: str) -> socket.socket:
    """It listens, nobody accepts yet; to be closed. `command`: whose it is. Raises HostCannot."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address.host, address.port))
        made.listen(_BACKLOG)  # at once: until then another one that is bound could
    except OSError as error:
        made.close()
        raise HostCannot(
            f"{address}: {error.strerror}",
            f"Listen at another port: {command} --listen 127.0.0.1:PORT.",
        ) from error
    return made
