"""Each way of telling somebody, against a real program, web server and mail server."""

from __future__ import annotations

import json
import os
import signal
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.errors import InvalidOption, NotDelivered
from holdfast.policy.message import RAISED, Message
from holdfast.policy.notifications import check_destination, deliver, place_of
from holdfast.policy.notifications.mail import mail_of

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="programs must be root's")

ODD = "leg 1 (file:/srv/a\nBcc: x@example.org\x1b[2J.img) is failed"
MESSAGE = Message("an-id", RAISED, "shop", ODD, "holdfast leg replace shop 1 URL", 1.0, 4.0, "vm")


@pytest.mark.parametrize(
    "url",
    [
        "", "page", "pager:1", "command:", "command:page", "command:/bin/x 'y", "webhook:",
        "webhook:file:///etc/shadow", "webhook:https://", "webhook:https://h:0/", "webhook:gopher://h",
        "webhook:http://[", "webhook:http://h/\u2026", "mail:", "mail:ops", "mail:-oQ/tmp@h",
        "mail:a@b?server=:25", "mail:a@b?server=h:99999", "mail:a@b?other=1",
        "mail:a@b,c@d", "mail:a@b\nBcc: c@d", "command:/bin/x\x00y",
    ],
)  # fmt: skip
def test_what_is_nobody(url: str) -> None:
    with pytest.raises(InvalidOption):
        check_destination(url)


@pytest.mark.parametrize(
    "url",
    [
        "command:/usr/local/bin/page --team 'on call'", "webhook:https://example.org/hook?token=x",
        "webhook:http://[::1]:8080/", "mail:ops@example.org",
        "mail:o'brien@example.org?server=mail.example.org:587",
    ],
)  # fmt: skip
def test_who_can_be_told(url: str) -> None:
    check_destination(url)


@pytest.mark.parametrize(
    ("url", "kind", "place"),
    [
        ("command:/usr/local/bin/page --key SECRET", "command", "/usr/local/bin/page"),
        ("webhook:https://u:SECRET@h.example:8443/SECRET?t=SECRET", "webhook", "https://h.example:8443"),
        ("webhook:http://[::1]/SECRET", "webhook", "http://[::1]"),
        ("mail:ops@example.org?server=SECRET:25", "mail", "ops@example.org"),
    ],
)  # fmt: skip
def test_where_that_is_without_its_secrets(url: str, kind: str, place: str) -> None:
    assert place_of(url) == (kind, place)


def program_in(folder: Path, text: str, mode: int = 0o755) -> Path:
    """A program of root's in a place of root's."""
    path = folder / "page"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path


@needs_root
def test_a_program_gets_it_on_standard_input_and_its_arguments(tmp_path: Path) -> None:
    path = program_in(tmp_path, 'printf "%s|" "$@" > "$1"; env >> "$1"; cat > "$1.json"')
    deliver(f"command:{path} {tmp_path}/out 'two words'", MESSAGE)
    arguments, _, rest = (tmp_path / "out").read_text().partition("two words|")
    assert arguments == f"{tmp_path}/out|"
    assert "HOLDFAST_ALERT_KIND=raised\n" in rest and "HOLDFAST_HOME" not in rest
    assert "\x1b" not in rest and "\nBcc" not in rest
    assert json.loads((tmp_path / "out.json").read_text())["words"] == ODD


@needs_root
def test_what_a_program_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    path = program_in(tmp_path, f"sleep 1000 &\necho $! > {tmp_path}/left")
    deliver(f"command:{path}", MESSAGE)
    os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)  # it is there


@needs_root
def test_a_program_that_fails_says_why(tmp_path: Path) -> None:
    path = program_in(tmp_path, "echo no pager here >&2; exit 3")
    with pytest.raises(NotDelivered, match=r"status 3: no pager here"):
        deliver(f"command:{path}", MESSAGE)


@needs_root
@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_program_that_others_may_write_is_not_run(tmp_path: Path, mode: int) -> None:
    path = program_in(tmp_path, f"touch {tmp_path}/ran", mode)
    with pytest.raises(NotDelivered, match="others may write"):
        deliver(f"command:{path}", MESSAGE)
    path.chmod(0o755)
    tmp_path.chmod(0o777)
    with pytest.raises(NotDelivered):
        deliver(f"command:{path}", MESSAGE)
    assert not (tmp_path / "ran").exists()


@needs_root
def test_a_link_to_a_program_is_followed_where_nobody_else_could_make_it(tmp_path: Path) -> None:
    program = program_in(tmp_path, f"touch {tmp_path}/ran")
    for place in ("ours", "open"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "link").symlink_to(program)
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(NotDelivered):
        deliver(f"command:{tmp_path}/open/link", MESSAGE)
    assert not (tmp_path / "ran").exists()
    deliver(f"command:{tmp_path}/ours/link", MESSAGE)
    assert (tmp_path / "ran").exists()
    (tmp_path / "ours" / "round").symlink_to("round")
    with pytest.raises(NotDelivered, match="itself"):
        deliver(f"command:{tmp_path}/ours/round", MESSAGE)


class Web(HTTPServer):
    """Answers each POST with `status`, and keeps what was posted."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), WebHandler)
        self.status = status
        self.got: list[tuple[str, Any]] = []


class WebHandler(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self) -> None:
        """Keep it."""
        server = cast(Web, self.server)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.got.append((self.path, json.loads(body)))
        self.send_response(server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def do_GET(self) -> None:
        """Where a redirection would lead."""
        cast(Web, self.server).got.append((self.path, None))

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[None]:
    """Let it serve from a thread."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_web_server_gets_it_as_json() -> None:
    web = Web(204)
    with running(web):
        deliver(f"webhook:http://127.0.0.1:{web.server_port}/hook?token=x", MESSAGE)
    [(path, values)] = web.got
    assert path == "/hook?token=x"
    assert (values["id"], values["kind"], values["words"]) == ("an-id", "raised", ODD)
    assert values["subject"].isprintable()


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_any_other_answer_is_an_error_and_leads_nowhere(status: int) -> None:
    web = Web(status)
    with running(web), pytest.raises(NotDelivered, match=str(status)):
        deliver(f"webhook:http://127.0.0.1:{web.server_port}/hook", MESSAGE)
    assert [path for path, _ in web.got] == ["/hook"]


def test_nobody_there() -> None:
    web = Web(204)
    web.server_close()
    with pytest.raises(NotDelivered, match="refused"):
        deliver(f"webhook:http://127.0.0.1:{web.server_port}/", MESSAGE)


class MailHandler(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as a client that says everything needs."""

    def handle(self) -> None:
        """One session."""
        server = cast(MailServer, self.server)
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            server.lines.append(line.decode().rstrip())
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    server.mail.append(line.decode().rstrip())
            if verb == b"QUIT":
                return  # without a word, which changes nothing about what was taken
            answer = b"550 nobody here\r\n" if verb == b"RCPT" and server.refuses else b"250 ok\r\n"
            self.wfile.write(answer)


class MailServer(socketserver.TCPServer):
    """Keeps what it was told."""

    def __init__(self, *, refuses: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), MailHandler)
        self.refuses = refuses
        self.lines: list[str] = []
        self.mail: list[str] = []


def test_a_mail_server_gets_it() -> None:
    server = MailServer()
    with running(server):
        deliver(f"mail:ops@example.org?server=127.0.0.1:{server.server_address[1]}", MESSAGE)
    assert "rcpt TO:<ops@example.org>" in server.lines
    headers = server.mail[: server.mail.index("")]
    assert "To: ops@example.org" in headers and "Message-ID: <an-id@holdfast>" in headers
    assert not [line for line in headers if line.startswith("Bcc")]


def test_a_mail_server_that_refuses() -> None:
    server = MailServer(refuses=True)
    with running(server), pytest.raises(NotDelivered, match="nobody here"):
        deliver(f"mail:ops@example.org?server=127.0.0.1:{server.server_address[1]}", MESSAGE)


def test_what_strangers_chose_begins_no_header_and_moves_no_cursor() -> None:
    mail = mail_of(MESSAGE, "ops@example.org")
    assert mail["Bcc"] is None and mail["Subject"].isprintable()
    text = mail.get_content()
    assert "\\nBcc" in text and "\x1b" not in text and "mend: holdfast leg replace" in text


def test_json_is_unicode_whatever_strangers_call_their_files() -> None:
    name = os.fsdecode(b"/srv/a\xff.img")
    message = Message("an-id", RAISED, "shop", name, f"holdfast leg add {name}", 1.0, 4.0, "vm")
    values = json.loads(json.dumps(message.as_json()))
    assert "\\xff.img" in values["words"]
    assert json.dumps(values, ensure_ascii=False).encode()
