"""By network: nobody without a token has more than a place for a moment, and nobody else waits."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from holdfast import AsyncClient, Client, Settings
from holdfast.api import network as by_network
from holdfast.api.certificate import Certificate
from holdfast.api.limits import ApiLimits
from holdfast.api.network import STRANGERS_OF_AN_ADDRESS, whose
from holdfast.api.serve import NetworkListener, listening_by_network, make_server
from holdfast.errors import InvalidOption, NoApi, Untrusted
from holdfast.service import RecoverRequest
from holdfast.service.api_tokens import ApiTokens, TokenScope
from tests.soak import rounds
from tests.unit.api.certificates import Made, make
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes tokens")

LIMITS = ApiLimits(write_seconds=0.5)
MANY = rounds(40, 1000)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Made]:
    folder = tmp_path_factory.mktemp("tls")
    return make(folder, "host"), make(folder, "other")


class Reached:
    """A server of this process, and the ways to it."""

    def __init__(self, home: Path, made: Made, stack: ExitStack) -> None:
        self.home = home
        self.made = made
        self.tokens = ApiTokens(Settings())
        self._stack = stack
        self._socket = self._served(made)

    def _served(self, made: Made) -> socket.socket:
        local = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        local.bind(str(self.home / "api.sock"))
        listener = self._stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        taken = NetworkListener(listener, Certificate(*made))
        self.url = taken.url
        self.address = listener.getsockname()
        self.server = make_server(LIMITS, Settings(), taken)
        thread = threading.Thread(target=self.server.run, kwargs={"sockets": [local]})
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(setattr, self.server, "should_exit", True)
        wait_until(lambda: self.server.started)
        return listener

    @property
    def strangers(self) -> int:
        """How many places of theirs are taken."""
        network = self.server._network
        assert network is not None
        return len(network.strangers)

    @property
    def connections(self) -> list[tuple[str, int] | None]:
        """Where those that go on come from."""
        network = self.server._network
        assert network is not None
        return [each.client for each in network._connections]

    def line(self, receives: int | None = None) -> socket.socket:
        """A connection without TLS. `receives`: bytes that are kept for who does not read."""
        made = self._stack.enter_context(socket.socket())
        made.settimeout(60)
        if receives is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        made.connect(self.address)
        return made

    def secure(self, receives: int | None = None) -> ssl.SSLSocket:
        """A connection."""
        context = ssl.create_default_context(cafile=str(self.made.certificate))
        line = context.wrap_socket(self.line(receives), server_hostname="127.0.0.1")
        return self._stack.enter_context(line)

    def client(self, token: str, authority: Path | None = None) -> Client:
        """To be closed."""
        named = authority or self.made.certificate
        return Client(url=self.url, token=token, authority=named)

    def local(self) -> Client:
        """By the socket."""
        return Client(self.home / "api.sock")


@contextmanager
def _reached(home: Path, made: Made) -> Iterator[Reached]:
    with ExitStack() as stack:
        yield Reached(home, made, stack)


@pytest.fixture
def reached(
    tmp_path: Path, certificates: tuple[Made, Made], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Reached]:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))
    monkeypatch.setattr(by_network, "LOOK_SECONDS", 0.2)
    made = Made(*(Path(shutil.copy2(each, tmp_path)) for each in certificates[0]))
    with _reached(tmp_path, made) as found:
        yield found


def ask(line: socket.socket, token: str = "", rest: str = "") -> bytes:
    """What is answered to a question, until the other end closes."""
    shown = f"authorization: Bearer {token}\r\n" if token else ""
    line.sendall(f"GET /v1/jobs HTTP/1.1\r\nhost: h\r\n{shown}{rest}\r\n".encode())
    found = b""
    while more := line.recv(1 << 16):
        found += more
    return found


def test_who_stalls_in_the_handshake_keeps_nobody_waiting(
    reached: Reached, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(by_network._TIMES, "ssl_handshake_timeout", 0.5)
    monkeypatch.setattr(by_network, "STAYS_SECONDS", 600.0)
    token, _ = reached.tokens.create("ops", TokenScope.READ)
    with reached.client(token) as client, reached.local() as local:
        assert client.jobs() == ()  # it is no stranger from here on
        lines = [reached.line() for _ in range(3 * STRANGERS_OF_AN_ADDRESS)]
        for line in lines:
            with suppress(ConnectionError):  # it was refused
                line.sendall(b"\x16\x03\x01\x02\x00\x01")  # as a handshake begins
        wait_until(lambda: reached.strangers == STRANGERS_OF_AN_ADDRESS)
        assert local.jobs() == client.jobs() == ()
        for line in lines:
            with suppress(ConnectionError):
                assert line.recv(1) == b"", "nobody is waited for for ever"
        assert local.jobs() == client.jobs() == ()


def test_wrong_tokens_come_at_the_rate_of_places(
    reached: Reached, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(by_network, "STAYS_SECONDS", 600.0)
    token, _ = reached.tokens.create("ops", TokenScope.READ)
    with reached.client(token) as client:
        assert client.jobs() == () and reached.strangers == 0
        for number in range(STRANGERS_OF_AN_ADDRESS):
            guessed = token[:12] + f"{number:043d}"
            with reached.secure() as line:
                assert ask(line, guessed).startswith(b"HTTP/1.1 401")
        wait_until(lambda: len(reached.connections) == 1)  # only a time keeps their places
        with pytest.raises((ConnectionError, ssl.SSLError)):
            reached.secure()
        assert reached.strangers == STRANGERS_OF_AN_ADDRESS
        assert client.jobs() == (), "who has shown a token goes on"
    assert caplog.text.count("this host") == 1, "strangers fill no log"


def test_nothing_is_read_of_who_shows_no_token(reached: Reached) -> None:
    token, _ = reached.tokens.create("ops", TokenScope.READ)
    for shown in (
        "",
        "authorization: Basic cm9vdDpyb290\r\n",
        f"authorization: Bearer {token}\r\nauthorization: Bearer {token}\r\n",
        "authorization: Bearer \xe9\r\n",
        f"cookie: token={token}\r\nx-forwarded-user: root\r\n",
    ):
        answered = ask(reached.secure(), rest=f"{shown}content-length: 60000\r\n")
        assert answered.startswith(b"HTTP/1.1 401") and b"www-authenticate: Bearer" in answered
    with pytest.raises(ConnectionError), reached.line() as line:
        if ask(line, token) == b"":
            raise ConnectionError
    assert ask(reached.secure(), token, "connection: close\r\n").endswith(b"\r\n\r\n[]")


def test_many_who_listen_and_one_who_never_reads(
    reached: Reached, caplog: pytest.LogCaptureFixture
) -> None:
    token, _ = reached.tokens.create("ops", TokenScope.CHANGE)
    other, _ = reached.tokens.create("other", TokenScope.READ)
    with ExitStack() as stack, reached.local() as local:
        job = local.begin(RecoverRequest())
        pid = local.jobs()[0].pid
        os.kill(pid, signal.SIGSTOP)
        stack.callback(os.kill, pid, signal.SIGCONT)
        answered = []
        request = f"GET /v1/jobs/{job.id}/events HTTP/1.1\r\nhost: h\r\n"
        for _ in range(MANY):
            try:
                line = reached.secure()
                line.sendall(f"{request}authorization: Bearer {token}\r\n\r\n".encode())
                answered.append(line.recv(12))
            except (ConnectionError, ssl.SSLError):
                answered.append(b"")
        assert answered.count(b"HTTP/1.1 200") == LIMITS.streams_of_a_user
        refused = answered.count(b"HTTP/1.1 429")
        assert refused >= min(MANY, LIMITS.connections_of_a_user) - LIMITS.streams_of_a_user
        assert answered.count(b"") == MANY - LIMITS.streams_of_a_user - refused
        assert local.jobs()[0].id == job.id
        wait_until(lambda: reached.strangers == 0)
        slow = reached.secure(receives=4096)
        words = f"GET /openapi.json HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {other}"
        slow.sendall(f"{words}\r\n\r\n".encode() * 400)
        with reached.client(other) as client:
            assert client.jobs()[0].id == job.id
        found = 0
        with suppress(ConnectionError, ssl.SSLError):
            wait_until(lambda: _is_ended(reached, slow))
            while more := slow.recv(1 << 16):
                found += len(more)
        assert 0 < found < 16 << 20, "what nobody reads is not kept"
    assert "mistake" not in caplog.text


def _is_ended(reached: Reached, line: ssl.SSLSocket) -> bool:
    """Whether the server has let go of it."""
    return line.getsockname() not in reached.connections


def test_a_token_that_is_revoked_ends_what_it_listens_to(reached: Reached) -> None:
    token, _ = reached.tokens.create("ops", TokenScope.CHANGE)
    with reached.client(token) as client, ExitStack() as stack:
        job = client.begin(RecoverRequest())
        pid = client.jobs()[0].pid
        os.kill(pid, signal.SIGSTOP)
        stack.callback(os.kill, pid, signal.SIGCONT)
        line = reached.secure()
        request = f"GET /v1/jobs/{job.id}/events HTTP/1.1\r\nhost: h\r\n"
        line.sendall(f"{request}authorization: Bearer {token}\r\n\r\n".encode())
        assert line.recv(1 << 16).startswith(b"HTTP/1.1 200")
        reached.tokens.revoke("ops")
        assert ask(reached.secure(), token).startswith(b"HTTP/1.1 401")
        with pytest.raises((ConnectionError, ssl.SSLError)):  # it is ended, not finished
            while line.recv(1 << 16):
                pass
            raise ConnectionError
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_new_certificate_is_shown(reached: Reached, certificates: tuple[Made, Made]) -> None:
    token, _ = reached.tokens.create("ops", TokenScope.READ)
    other = certificates[1]
    with reached.client(token, other.certificate) as client, pytest.raises(Untrusted):
        client.jobs()
    for new, place in zip(other, reached.made, strict=True):
        shutil.copy2(new, place.with_suffix(".new"))
        place.with_suffix(".new").replace(place)

    def shows_it() -> bool:
        time.sleep(by_network.STAYS_SECONDS / 8)  # each that fails keeps a place
        with reached.client(token, other.certificate) as client:
            try:
                return client.jobs() == ()
            except (Untrusted, NoApi):
                return False

    wait_until(shows_it)


def test_without_tls_only_within_this_host(tmp_path: Path) -> None:
    pem = tmp_path / "x.pem"
    for address, certificate, key in [
        ("0.0.0.0:0", None, None),
        ("[::]:0", None, None),
        ("192.0.2.1:8521", None, None),
        ("127.0.0.1:0", pem, None),
        ("127.0.0.1:0", None, pem),
        (None, pem, pem),
        ("everywhere", None, None),
    ]:
        with pytest.raises(InvalidOption), listening_by_network(address, certificate, key):
            pass
    with listening_by_network("127.0.0.1:0", None, None) as taken:
        assert taken is not None and taken.url.startswith("http://127.0.0.1:")
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError):  # nobody listens there in our place
                other.bind(taken.socket.getsockname())
    with listening_by_network(None, None, None) as taken:
        assert taken is None
    for kind in (Client, AsyncClient):
        for url in ("http://192.0.2.1:8521", "ftp://127.0.0.1", "https://", "https://h/path", ""):
            with pytest.raises(InvalidOption):
                kind(url=url, token="x")
        with pytest.raises(InvalidOption):
            kind(url="https://127.0.0.1", token="")


def test_who_is_counted_as_one() -> None:
    assert whose("127.0.0.1") == whose("127.9.9.9") == whose("::1") == whose("::ffff:127.0.0.1")
    assert whose("192.0.2.1") == whose("::ffff:192.0.2.1") != whose("192.0.2.2")
    assert whose("2001:db8::1") == whose("2001:db8::ffff:1%eth0") != whose("2001:db8:0:1::1")
