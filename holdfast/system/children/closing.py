"""Closing what a stranger may have put something into."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from typing import Protocol

from holdfast.system.children.expendable import begun_in_expendable_child


class Closable(Protocol):
    """A socket, for example."""

    def close(self) -> None: ...


def close_elsewhere(ends: Iterable[Closable]) -> None:
    """Close these, and wait for nobody.

    With a socket goes what lies unread in it; a descriptor there may be the last one of a socket
    that waits until its peer has got everything, for as long as its sender likes (SO_LINGER). It
    does not in a process that ends (inet_release of net/ipv4/af_inet.c): so a child has copies of
    them, and is ended when ours are closed. Where there can be no child they are closed by us.
    """
    mine = list(ends)
    if not mine:
        return
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(begun_in_expendable_child(signal.pause))
        for each in mine:
            each.close()
