"""Who the dashboard is: nobody in particular, with the one group that may read the API.

Invariant: when root starts it, nothing of root's is left when a page is asked for, and nothing can
bring it back: user, groups, capabilities; a program with the setuid bit gains nothing below it.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from holdfast.errors import HostCannot, MissingRights, NoApi
from holdfast.system.processes.process import gain_no_rights

USER = "nobody"
"""Who it becomes; a unit of systemd may have made it another one before."""


def reading_group(api_socket: Path) -> int:
    """The group that may ask the API. Raises NoApi, MissingRights: none may but root."""
    try:
        found = api_socket.stat()
    except FileNotFoundError:
        raise NoApi(
            f"nobody serves at {api_socket}", "holdfast api, or: systemctl start holdfast-api"
        ) from None
    except OSError as error:
        raise MissingRights(f"{api_socket}: {error.strerror}", "Start it as root.") from error
    if not found.st_mode & stat.S_IWGRP or found.st_gid == 0:
        raise MissingRights(
            "the API answers to root alone, and the dashboard is not root",
            "groupadd --system holdfast, then begin the API again;"
            " or name a group: holdfast api --group GROUP",
        )
    return found.st_gid


def become_nobody(group: int) -> None:
    """Give up root for good. Raises HostCannot when there is no such user, or it did not work."""
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        raise HostCannot(f"there is no user {USER!r}", "useradd --system nobody") from None
    os.setgroups([group])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    gain_no_rights()
    if 0 in os.getresuid() or 0 in os.getresgid() or 0 in os.getgroups():
        raise HostCannot("this process is still root", "Report this.")
