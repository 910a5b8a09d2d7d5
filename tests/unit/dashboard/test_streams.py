"""Streams tell what has changed; answers are shared; addresses are read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from holdfast.api.addresses import read_address
from holdfast.api.connections import Seats
from holdfast.dashboard import live
from holdfast.dashboard.asking import MOST_ANSWERS, Asking
from holdfast.dashboard.live import LiveStream, PagePart, event_text
from holdfast.errors import InvalidOption, NoSuchVolume


def told(parts: list[PagePart]) -> list[str]:
    """What a stream says of these, one after the other."""
    now: Iterator[PagePart] = iter(parts)

    async def part() -> PagePart:
        return next(now)

    async def read() -> list[str]:
        stream = LiveStream(part, 0.0, Seats(1, 1))
        return [str(each) async for each in stream.body_iterator]

    return asyncio.run(read())


def test_only_what_has_changed_is_told_and_then_the_end() -> None:
    said = told(
        [
            PagePart("a"),
            PagePart("a"),
            PagePart("b", {"x": 1}),
            PagePart("b", {"x": 2}),
            PagePart("c", is_last=True),
        ]
    )
    assert said == [
        "data: a\n\n",
        'data: b\n\nevent: figures\ndata: {"x": 1}\n\n',
        'event: figures\ndata: {"x": 2}\n\n',
        "data: c\n\nevent: end\ndata: {}\n\n",
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_no_line_of_a_page_is_a_line_of_the_stream(end: str) -> None:
    said = event_text(f"a{end}{end}event: end{end}data: x")
    assert all(line.startswith("data: ") for line in re.split("[\r\n]", said) if line)


def test_who_finds_no_seat_is_told_so_and_asks_again_later() -> None:
    seats = Seats(1, 1)
    assert seats.take(0)
    said = b""

    async def send(message: dict[str, bytes]) -> None:
        nonlocal said
        said += message.get("body", b"")

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def never() -> PagePart:
        raise AssertionError

    async def main() -> None:
        scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
        await LiveStream(never, 0.0, seats)(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(main())
    assert said == b"retry: 10000\nevent: full\ndata: {}\n\n"
    assert len(seats) == 1


def test_what_comes_late_is_said_to_be_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LATE_SECONDS", 0.01)
    answered = False

    async def main() -> tuple[str, str, bool]:
        may_answer = asyncio.Event()

        async def part() -> PagePart:
            nonlocal answered
            await may_answer.wait()
            answered = True
            return PagePart("a")

        stream = LiveStream(part, 0.0, Seats(1, 1)).body_iterator
        first = str(await anext(aiter(stream)))
        may_answer.set()
        second = first
        while second == first:
            second = str(await anext(aiter(stream)))
        may_answer.clear()
        answered_once, answered_now = answered, False
        await anext(aiter(stream))  # again late
        await stream.aclose()  # type: ignore[union-attr]
        await asyncio.sleep(0)
        left = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
        assert not left and not answered_now
        return first, second, answered_once

    assert asyncio.run(main()) == ("event: late\ndata: {}\n\n", "data: a\n\n", True)


def test_what_many_ask_is_asked_once() -> None:
    asked: list[str] = []

    async def question() -> str:
        asked.append("x")
        await asyncio.sleep(0)
        return "answer"

    async def fails() -> str:
        raise NoSuchVolume("none")

    async def main() -> None:
        asking = Asking(None)  # type: ignore[arg-type]
        many = await asyncio.gather(*(asking.ask("k", 60.0, question) for _ in range(20)))
        assert set(many) == {"answer"} and len(asked) == 1
        await asking.ask("k", 60.0, question)
        assert len(asked) == 1
        await asking.ask("k", 0.0, question)
        assert len(asked) == 2
        with pytest.raises(NoSuchVolume):
            await asking.ask("f", 0.0, fails)
        for number in range(3 * MOST_ANSWERS):
            await asking.ask(number, 60.0, question)
        assert len(asking._answers) == MOST_ANSWERS

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "host", "port", "is_beyond"),
    [("127.0.0.1:8520", "127.0.0.1", 8520, False), ("localhost:0", "127.0.0.1", 0, False),
     ("[::1]:80", "::1", 80, False), (":8520", "127.0.0.1", 8520, False),
     ("8520", "127.0.0.1", 8520, False), ("0.0.0.0:8520", "0.0.0.0", 8520, True),
     ("[::]:1", "::", 1, True), ("10.1.2.3:65535", "10.1.2.3", 65535, True),
     ("127.9.9.9:1", "127.9.9.9", 1, False)],
)  # fmt: skip
def test_addresses(text: str, host: str, port: int, is_beyond: bool) -> None:
    address = read_address(text)
    assert (address.host, address.port, address.is_beyond) == (host, port, is_beyond)


@pytest.mark.parametrize(
    "text", ["", "x", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "evil.example:80", "1:2:3"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption):
        read_address(text)
