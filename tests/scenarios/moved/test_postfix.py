"""Postfix, its spool and the mailboxes on a volume that is migrated: every mail arrives once."""

from __future__ import annotations

import signal
import smtplib
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.applications.users import busy_processes
from holdfast.mountpoints.capture import capture
from tests.scenarios.moved.moving import (
    SHORT_WITH_COMMANDS,
    migration,
    move_under_load,
    run,
    started,
)
from tests.scenarios.moved.programs import free_port, needed
from tests.scenarios.moved.side_by_side import SideBySide
from tests.waiting import wait_until

USER, NUMBER = "nobody", 65534
CLIENTS = 2
MAILS_BETWEEN = 5
PACE_SECONDS = 0.05
"""Between two mails of a client: at full speed on a busy host there were more and more files to be
copied while everybody stood."""

MAIN = """
compatibility_level = 3.6
queue_directory = {volume}/spool
data_directory = {volume}/data
myhostname = moved.invalid
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
virtual_mailbox_domains = moved.invalid
virtual_mailbox_base = {volume}/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{number}
virtual_gid_maps = static:{number}
local_recipient_maps =
alias_maps =
alias_database =
smtpd_tls_security_level = none
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
default_process_limit = 10
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
"""


class Clients(SideBySide):
    """Mails through SMTP on connections that stay open; those that were accepted are counted."""

    def __init__(self, port: int) -> None:
        super().__init__(CLIENTS)
        self._port = port

    def work(self, client: int, done: Callable[[], bool]) -> None:
        with smtplib.SMTP("127.0.0.1", self._port, "moved.invalid", timeout=60) as server:
            while not done():
                name = f"{client}-{self.counts[client]}"
                text = f"Subject: <{name}>\r\n\r\n" + "x" * 3000 + "\r\n"
                server.sendmail("a@moved.invalid", ["b@moved.invalid"], text)
                self.counts[client] += 1
                time.sleep(PACE_SECONDS)

    def connects(self) -> bool:
        """Whether the server answers."""
        with suppress(OSError, smtplib.SMTPException), smtplib.SMTP("127.0.0.1", self._port):
            return True
        return False


def test_every_mail_arrives_once(ram_directory: Path, run_holdfast: Callable[..., Any]) -> None:
    postfix, master, queue = needed("postfix", "master", "postqueue")
    with migration(ram_directory, run_holdfast) as mover:
        port = free_port()
        _configure(ram_directory / "postfix", mover.path, port)
        configuration = ["-c", str(ram_directory / "postfix")]
        run(postfix, *configuration, "check")
        with started([master, *configuration, "-d"], cwd="/") as server:
            clients = Clients(port)
            wait_until(lambda: clients.connects() or server.poll() is not None)
            assert server.poll() is None

            def working() -> None:
                clients.get_on(MAILS_BETWEEN)

            moves = move_under_load(mover, clients.load, working, SHORT_WITH_COMMANDS)
            assert all({"master", "qmgr"} <= set(moved.processes) for moved in moves), moves
            new = mover.path / "mail/box/new"
            wait_until(
                lambda: "is empty" in run(queue, *configuration, "-p"), "the queue is not empty"
            )
            accepted = {
                f"<{client}-{number}>"
                for client in range(CLIENTS)
                for number in range(clients.counts[client])
            }
            arrived = Counter(_subject(path) for path in new.iterdir())
            assert set(arrived) == accepted
            assert set(arrived.values()) == {1}
            server.terminate()
            assert server.wait(timeout=60) == -signal.SIGTERM
            # its services see that it has ended
            wait_until(lambda: not busy_processes(capture(str(mover.path))))


def _configure(folder: Path, volume: Path, port: int) -> None:
    """Postfix's own two files, and the folders that it does not make by itself."""
    folder.mkdir()
    (folder / "main.cf").write_text(MAIN.format(volume=volume, number=NUMBER))
    (folder / "master.cf").write_text(MASTER.format(port=port))
    for name, owner in (("spool", "root"), ("data", "postfix"), ("mail", USER)):
        (volume / name).mkdir()
        run("chown", owner, volume / name)


def _subject(path: Path) -> str:
    lines = path.read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("Subject:"))
