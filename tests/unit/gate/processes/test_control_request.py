"""What a control connection sends is data from a stranger: bounded and typed before it is used."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from holdfast.errors import InvalidOption
from holdfast.gate.processes.control import request
from holdfast.gate.processes.control.request import REQUEST_BYTES, VERBS, parse, read_line
from holdfast.gate.processes.control.verbs import Verbs


def line(**values: object) -> bytes:
    return json.dumps(values).encode() + b"\n"


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("show", {}),
        ("hold", {"seconds": None, "reason": ""}),
        ("hold", {"seconds": 1.5, "reason": "backup"}),
        ("add_leg", {"url": "file:/a.img", "spare": False}),
        ("fault", {"kind": "leg-eio", "leg": None, "seconds": 10.0}),
        ("resize", {"size_bytes": 1 << 40}),
        ("configure", {"descriptor": {"name": "shop"}}),
        ("configure", {"hold_timeout_seconds": 0}),
    ],
)
def test_what_commands_send(verb: str, arguments: dict[str, object]) -> None:
    assert parse(line(verb=verb, **arguments)) == (verb, arguments)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\n",
        b"nonsense\n",
        b"\xff\xfe\n",
        b"[1, 2]\n",
        b'"show"\n',
        b"null\n",
        b"[" * 60000 + b"\n",
        b'{"verb": ' * 6000 + b"\n",
        line(verb=["show"]),
        line(verb={"a": 1}),
        line(verb="__init__"),
        line(verb="accept"),
        line(verb="finish"),
        line(verb="show", hand=1),
        line(verb="show", self=1),
        line(verb="hold", seconds=-1, reason=""),
        line(verb="hold", seconds=True, reason=""),
        line(verb="hold", seconds="1", reason=""),
        line(verb="hold", seconds=10**400, reason=""),
        b'{"verb": "hold", "seconds": NaN}\n',
        b'{"verb": "hold", "seconds": Infinity}\n',
        line(verb="hold", seconds=1, reason="x" * 5000),
        line(verb="resize", size_bytes=2**64 - 1),
        line(verb="resize", size_bytes=1e20),
        line(verb="resize", size_bytes=0),
        line(verb="add_leg", url=None),
        line(verb="add_leg", url="file:/a\0b"),
        line(verb="configure", descriptor={"name": "x" * 9000}),
        line(verb="configure", descriptor=[1]),
        line(verb="configure", hold_timeout_seconds=float("1e300")),
    ],
)
def test_what_nobody_should(sent: bytes) -> None:
    with pytest.raises(InvalidOption):
        parse(sent)


def test_every_verb_is_there() -> None:
    for verb in VERBS:
        assert callable(getattr(Verbs, verb))


def test_anything_is_refused_or_understood() -> None:
    chance = random.Random(7)
    values = [None, True, -1, 2**64 - 1, 1e308, "", "x" * 5000, [], {}, [[]], {"a": {"b": 1}}]
    for _ in range(3000):
        verb = chance.choice([*VERBS, "other"])
        names = [*VERBS.get(verb, {}), "url", "other"]
        arguments = {chance.choice(names): chance.choice(values) for _ in range(3)}
        sent = bytearray(line(verb=verb, **arguments))
        for _ in range(chance.randrange(3)):
            sent[chance.randrange(len(sent))] = chance.randrange(256)
        try:
            understood, taken = parse(bytes(sent))
        except InvalidOption:
            continue
        assert all(VERBS[understood][name](value) for name, value in taken.items())


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_line_without_an_end(pair: tuple[socket.socket, socket.socket]) -> None:
    sender = threading.Thread(target=_send, args=(pair[1], b"x" * (REQUEST_BYTES + 1)))
    sender.start()
    with pytest.raises(InvalidOption, match="too long"):
        read_line(pair[0])
    pair[0].close()
    sender.join()


def test_a_line_that_drips(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "READ_SECONDS", 0.2)
    ended = threading.Event()

    def drip() -> None:
        while not ended.is_set():
            _send(pair[1], b" ")
            time.sleep(0.01)

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        with pytest.raises(TimeoutError):
            read_line(pair[0])
    finally:
        ended.set()
        dripping.join()


def _send(end: socket.socket, data: bytes) -> None:
    try:
        end.sendall(data)
    except OSError:
        return
