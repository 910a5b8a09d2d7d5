"""Programs that stories move: where they are, how they run as somebody, a port for them."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
from contextlib import closing

import pytest

_ALSO_IN = ("/usr/sbin", "/usr/local/sbin", "/usr/lib/postfix/sbin", "/usr/lib/dovecot")


def needed(*names: str) -> list[str]:
    """Paths of programs; skips the test, naming what lacks, where one is not installed."""
    places = os.pathsep.join((os.environ["PATH"], *_ALSO_IN))
    found = {name: shutil.which(name, path=places) for name in names}
    lacking = [name for name, path in found.items() if path is None]
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}")
    return [path for path in found.values() if path is not None]


def as_user(user: str) -> list[str]:
    """The beginning of a command that runs as a user with the user's own group and no others."""
    group = pwd.getpwnam(user).pw_gid
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody has at this instant."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])
