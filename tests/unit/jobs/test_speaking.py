"""A job never waits for whoever listens, and always says how it ended."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from holdfast.jobs.ends import Finished, Interrupted, read_end
from holdfast.jobs.speaking import Speaking
from holdfast.model.event import Progressed, Said, read_event

LONG = "x" * 3000


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Speaking]]:
    """The listener's side, and the job's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, Speaking(theirs)


def everything(listening: socket.socket) -> list[dict[str, object]]:
    """All that is said, until the other side is closed."""
    with listening.makefile("rb") as file:
        return [json.loads(line) for line in file]


def test_a_request_may_come_in_pieces(ends: tuple[socket.socket, Speaking]) -> None:
    ours, speaking = ends
    text = json.dumps({"request": LONG * 100}).encode() + b"\n"
    sender = threading.Thread(target=ours.sendall, args=(text,))
    sender.start()
    assert speaking.hear() == {"request": LONG * 100}
    sender.join()


@pytest.mark.parametrize("text", [b"", b"[]\n", b"nonsense\n", b'{"request": '])
def test_what_is_no_request_is_refused(ends: tuple[socket.socket, Speaking], text: bytes) -> None:
    ours, speaking = ends
    ours.sendall(text)
    ours.shutdown(socket.SHUT_WR)
    with pytest.raises(ValueError):
        speaking.hear()


def test_nobody_waits_for_a_listener_who_does_not_read(
    ends: tuple[socket.socket, Speaking],
) -> None:
    ours, speaking = ends
    for number in range(1000):
        speaking.tell(Said(float(number), LONG))  # much more than a socket has room for
    last = threading.Thread(target=speaking.end, args=(Interrupted(15),))
    last.start()
    *told, end = everything(ours)
    last.join()
    assert read_end(end, lambda value: value) == Interrupted(15)
    heard = [read_event(each) for each in told]
    assert 10 < len(heard) < 1000, "nothing was lost, so nothing was tested"
    assert heard == [Said(float(number), LONG) for number in range(len(heard))]


def test_a_listener_who_reads_late_hears_what_comes_then(
    ends: tuple[socket.socket, Speaking],
) -> None:
    ours, speaking = ends
    for number in range(1000):
        speaking.tell(Said(float(number), LONG))
    ours.recv(1 << 20)
    speaking.tell(Said(1e6, "late"))
    reader = threading.Thread(target=speaking.end, args=(Finished(None),))
    reader.start()
    with ours.makefile("rb") as file:
        lines = file.read().split(b"\n")
    reader.join()
    assert read_event(json.loads(lines[-3])) == Said(1e6, "late")


def test_a_listener_who_is_gone_disturbs_nobody(ends: tuple[socket.socket, Speaking]) -> None:
    ours, speaking = ends
    ours.close()
    speaking.tell(Said(1.0, "freeze"))
    speaking.tell(Said(2.0, LONG))
    speaking.end(Finished(None))


def test_percentages_are_told_by_tenths(ends: tuple[socket.socket, Speaking]) -> None:
    ours, speaking = ends

    def work() -> None:
        for number in range(5001):
            speaking.tell(Progressed(0.0, number / 1000))
        speaking.tell(Progressed(0.0, 0.0))  # the next part
        speaking.end(Finished(None))

    at_work = threading.Thread(target=work)
    at_work.start()
    *told, _ = everything(ours)
    at_work.join()
    percents = [each.percent for each in map(read_event, told) if isinstance(each, Progressed)]
    assert 10 < len(percents) <= 52
    assert percents[0] == percents[-1] == 0.0
    assert all(later - each > 0.099 for each, later in pairwise(percents[:-1]))
