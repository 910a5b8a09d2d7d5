"""The certificate by which this host proves who it is, and the key to it: judged, loaded, renewed.

Invariant: both are believed only where nobody but root can have made or exchanged them, and the key
only where others cannot read it.
"""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import HostCannot, InvalidOption, Untrusted
from holdfast.system.files.trusted import believe, fault_of, open_file, open_parent

_MOST_LINKS = 40
"""As the kernel follows (path_resolution(7)). certbot's `live` directory has links."""


class Certificate:
    """Of one server. New connections get the one that lies there now."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises InvalidOption, HostCannot, Untrusted."""
        self._paths = certificate, key
        self._of: tuple[tuple[int, ...], ...] = ()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.set_alpn_protocols(["http/1.1"])
        self.context.num_tickets = 0  # no session is gone on with: each token is shown anew
        self.renew()

    def renew(self) -> bool:
        """Load them again where they are others than before; whether they were. Blocks.

        Raises InvalidOption, HostCannot, Untrusted: the ones before stay.
        """
        if self._of and self._of == self._seen():
            return False
        with _opened(self._paths[0]) as certificate, _opened(self._paths[1]) as key:
            status = os.fstat(key)
            if stat.S_IMODE(status.st_mode) & stat.S_IRWXO:
                raise Untrusted(
                    f"{self._paths[1]} is no secret: others may read it",
                    f"chmod o-rwx {self._paths[1]}; whoever has read it can pass for this host:"
                    " have a new one made.",
                )
            of = tuple(_identity(os.fstat(each)) for each in (certificate, key))
            self._check(certificate, key)
            self._load(self.context, certificate, key)
            self._of = of
        return True

    def _seen(self) -> tuple[tuple[int, ...], ...]:
        """What lies there, not judged."""
        try:
            return tuple(_identity(each.stat()) for each in self._paths)
        except OSError:
            return ()

    def _check(self, certificate: int, key: int) -> None:
        """Two that do not belong together would leave the context with one of them."""
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)

    def _load(self, context: ssl.SSLContext, certificate: int, key: int) -> None:
        try:
            # What was judged is what is read: by its descriptor. A key with a passphrase would ask.
            context.load_cert_chain(
                f"/proc/self/fd/{certificate}", f"/proc/self/fd/{key}", password=lambda: b""
            )
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise InvalidOption(
                f"{self._paths[0]} and {self._paths[1]} are no certificate and its key: {error}",
                "Both in PEM, the certificate first and its issuers after it, the key without a"
                " passphrase.",
            ) from error


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A file that nobody but root can have made, through links that are root's, too."""
    try:
        for _ in range(_MOST_LINKS):
            target = _link(path)
            if target is None:
                break
            path = path.parent / target
        descriptor = open_file(path, os.O_RDONLY)
    except OSError as error:
        raise HostCannot(f"{path}: {error.strerror}", "Name a file that is there.") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _link(path: Path) -> str | None:
    """What a symbolic link of root's says; None: it is none. Raises OSError, Untrusted."""
    with open_parent(path) as (folder, name):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            return None
        believe(path, fault_of(status, stat.S_IFLNK) if status.st_uid else "")
        return os.readlink(name, dir_fd=folder)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
