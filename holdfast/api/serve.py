"""The socket, a listener by network where one is asked for, and the process that serves them until
it is told to end.

Owns who may connect: root, and the members of one group, by the socket's mode; by network whoever
has a token, and only by TLS where other hosts could connect. One process serves
at a time. Volumes and jobs work without it as with it: what is told to it is nowhere else.
"""

from __future__ import annotations

import grp
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.api.addresses import Address, bound, read_address
from holdfast.api.application import make_application
from holdfast.api.certificate import Certificate
from holdfast.api.connections import Seats
from holdfast.api.known_tokens import KnownTokens
from holdfast.api.limits import ApiLimits
from holdfast.api.network import Network
from holdfast.api.server import BoundedServer, bounded_server
from holdfast.config import Settings
from holdfast.errors import InvalidOption
from holdfast.late_dataclass import dataclass
from holdfast.policy.watching import only_one
from holdfast.service.requests import LONGEST_SOCKET_PATH_BYTES
from holdfast.system.files.trusted import own_directory

GROUP = "holdfast"
"""Whose members may ask, where nobody says otherwise."""

_END_SECONDS = 2
"""For answers that are under way when it is told to end; streams never end by themselves."""

_MOST_FILES = 4096
"""Descriptors: connections, and those that are accepted only to be refused."""


def group_number(name: str | None) -> int | None:
    """The group whose members may ask; None: only root may. Raises InvalidOption."""
    try:
        return grp.getgrnam(name or GROUP).gr_gid
    except KeyError:
        if name is None:
            return None
        raise InvalidOption(
            f"there is no group {name!r}", f"groupadd --system {name}, or name another one."
        ) from None


@contextmanager
def listening(settings: Settings, group: int | None) -> Iterator[socket.socket]:
    """The socket, removed afterwards; nobody else serves meanwhile.

    Raises AtWork, InvalidOption, Untrusted, OSError.
    """
    path = settings.api_socket
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH_BYTES:
        words = f"{path} is too long for a socket: {LONGEST_SOCKET_PATH_BYTES} bytes at most"
        raise InvalidOption(words, "Set HOLDFAST_HOME to a shorter path.")
    with only_one(settings.run_directory, "api"):
        own_directory(path.parent, private=False)
        with socket.socket(socket.AF_UNIX) as made:
            _bind(made, path, group)
            try:
                yield made
            finally:
                path.unlink(missing_ok=True)


@dataclass(frozen=True)
class NetworkListener:
    """Taken, and not listening yet."""

    socket: socket.socket
    certificate: Certificate | None

    @property
    def url(self) -> str:
        """Where programs ask."""
        host, port = self.socket.getsockname()[:2]
        return f"http{'s' if self.certificate else ''}://{Address(host, port)}"


@contextmanager
def listening_by_network(
    address: str | None, certificate: Path | None, key: Path | None
) -> Iterator[NetworkListener | None]:
    """What is asked for; None: nothing is. Raises InvalidOption, HostCannot, Untrusted."""
    if (certificate is None) != (key is None) or (certificate is not None and address is None):
        raise InvalidOption(
            "--listen, --certificate and --key belong together",
            "holdfast api --listen ADDRESS:PORT --certificate FILE --key FILE",
        )
    if address is None:
        yield None
        return
    place = read_address(address, "127.0.0.1:8521")
    if place.is_beyond and certificate is None:
        raise InvalidOption(
            f"other hosts could connect to {place.host}, and who is on the way could read along",
            "Name a --certificate and its --key; or listen at 127.0.0.1.",
        )
    shown = None if certificate is None or key is None else Certificate(certificate, key)
    with bound(place, "holdfast api") as made:
        yield NetworkListener(made, shown)


def serve(
    listener: socket.socket,
    limits: ApiLimits,
    settings: Settings,
    network: NetworkListener | None = None,
) -> None:
    """Answer until SIGTERM or SIGINT, which is raised again then. Blocks."""
    _raise_file_limit()
    make_server(limits, settings, network).run(sockets=[listener])


def make_server(
    limits: ApiLimits, settings: Settings, network: NetworkListener | None = None
) -> BoundedServer:
    """What answers, of one event loop."""
    connections = Seats(limits.connections, limits.connections_of_a_user)
    application = make_application(limits, connections)
    known = KnownTokens(settings.state_directory)
    by_network = None if network is None else Network(network.socket, network.certificate, known)
    return bounded_server(application, limits, connections, _END_SECONDS, by_network)


def _bind(made: socket.socket, path: Path, group: int | None) -> None:
    """Nobody can connect before it has owner and mode: nobody listens yet."""
    path.unlink(missing_ok=True)  # of one that was killed: whoever has the lock is alone
    before = os.umask(0o177)
    try:
        made.bind(os.fspath(path))
    finally:
        os.umask(before)
    if group is not None:
        os.chown(path, 0, group, follow_symlinks=False)
        path.chmod(0o660)


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(_MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
