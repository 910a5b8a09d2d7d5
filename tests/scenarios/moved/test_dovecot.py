"""Dovecot with its mailboxes on a volume that is migrated: every message goes in and comes out."""

from __future__ import annotations

import imaplib
import itertools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

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
MESSAGES_BETWEEN = 10
KEEP_EVERY = 5
"""Of so many messages one stays; the others are removed when they were read."""

CONFIGURATION = """
protocols = imap
listen = 127.0.0.1
base_dir = {outside}/run
state_dir = {outside}/state
log_path = {outside}/dovecot.log
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{volume}/mail/%u:INDEX={outside}/index/%u
mail_fsync = always
first_valid_uid = 1
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={number} gid={number} home={volume}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""


class Clients(SideBySide):
    """Connections that stay open: each message is appended, read, compared, most are removed."""

    def __init__(self, port: int) -> None:
        super().__init__(CLIENTS)
        self._port = port

    def work(self, client: int, done: Callable[[], bool]) -> None:
        with imaplib.IMAP4("127.0.0.1", self._port, timeout=60) as box:
            box.login(f"user-{client}", "any")
            _ok(box.select("INBOX"))
            for number in itertools.count():
                if done():
                    break
                text = f"Subject: {number}\r\n\r\n{number} " + "x" * 2000 + "\r\n"
                _ok(box.append("INBOX", "", "", text.encode()))
                _ok(box.noop())
                found = _ok(box.search(None, "SUBJECT", f'"{number}"'))[0].split()
                answers = [_ok(box.fetch(name.decode(), "(RFC822)"))[0][1] for name in found]
                assert text.encode() in answers, (number, found)
                if number % KEEP_EVERY:
                    name = found[answers.index(text.encode())].decode()
                    _ok(box.store(name, "+FLAGS", r"(\Deleted)"))
                    _ok(box.expunge())
                self.counts[client] += 1

    def connects(self) -> bool:
        """Whether the server answers."""
        with suppress(OSError, imaplib.IMAP4.error), imaplib.IMAP4("127.0.0.1", self._port):
            return True
        return False


def _ok(answer: tuple[str, list[Any]]) -> list[Any]:
    assert answer[0] == "OK", answer
    return answer[1]


def test_every_message_is_there(ram_directory: Path, run_holdfast: Callable[..., Any]) -> None:
    (dovecot,) = needed("dovecot")
    with migration(ram_directory, run_holdfast) as mover:
        mail = mover.path / "mail"
        mail.mkdir()
        index = ram_directory / "index"
        index.mkdir()
        run("chown", USER, mail, index)
        port = free_port()
        configuration = ram_directory / "dovecot.conf"
        configuration.write_text(
            CONFIGURATION.format(outside=ram_directory, volume=mover.path, number=NUMBER, port=port)
        )
        log = ram_directory / "dovecot.log"
        with started([dovecot, "-F", "-c", configuration], cwd="/") as server:
            clients = Clients(port)
            wait_until(lambda: clients.connects() or server.poll() is not None)
            assert server.poll() is None, log.read_text()

            def working() -> None:
                clients.get_on(MESSAGES_BETWEEN)

            try:
                moves = move_under_load(mover, clients.load, working, SHORT_WITH_COMMANDS)
            finally:
                print(log.read_text())
            assert all(moved.processes.count("imap") == CLIENTS for moved in moves), moves
            for client in range(CLIENTS):
                _verify(port, client, clients.counts[client])
            server.terminate()
            assert server.wait(timeout=60) == 0
        problems = [line for line in log.read_text().splitlines() if _is_problem(line)]
        assert not problems, problems


def _verify(port: int, client: int, count: int) -> None:
    """Just what was not removed is there, to somebody who comes anew."""
    with imaplib.IMAP4("127.0.0.1", port, timeout=60) as box:
        box.login(f"user-{client}", "any")
        names = _ok(box.select("INBOX"))
        assert int(names[0]) == len(range(0, count, KEEP_EVERY))
        answers = _ok(box.fetch("1:*", "(BODY[TEXT])"))
        bodies = [answer[1] for answer in answers if isinstance(answer, tuple)]
        numbers = sorted(int(body.split()[0]) for body in bodies)
        assert numbers == list(range(0, count, KEEP_EVERY))


def _is_problem(line: str) -> bool:
    return any(word in line for word in ("Error:", "Fatal:", "Panic:", "Warning: Maildir"))
