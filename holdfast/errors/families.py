"""What every error has, and the families; whoever is alone in one has its code here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class HoldfastError(Exception):
    """Anything that Holdfast refuses or fails to do, with a code and a mend."""

    code: ClassVar[str] = ""
    exit_status: ClassVar[int] = 1

    subject: str = ""
    """Which of several things that were named it is about (a URL); empty: not told apart."""

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


@contextmanager
def about(subject: str) -> Iterator[None]:
    """Let errors in this block say which of several things they are about."""
    try:
        yield
    except HoldfastError as error:
        error.subject = error.subject or subject
        raise


class BadInput(HoldfastError):
    """What was typed is invalid. Nothing was changed."""

    exit_status = 2


class Refused(HoldfastError):
    """It could be done and would do harm. Nothing was changed."""

    exit_status = 3


class NotFound(HoldfastError):
    """There is no such thing."""

    exit_status = 4


class HostCannot(HoldfastError):
    """This host lacks what it takes: holdfast doctor lists it with the mend."""

    exit_status = 5


class WrongState(HoldfastError):
    """The volume is in a state in which this cannot be done. Nothing was changed."""

    exit_status = 6


class StorageFailed(HoldfastError):
    """Storage did not do what it must."""

    exit_status = 7


class DeadlinePassed(HoldfastError):
    """It did not end within its deadline. The storage below may hang."""

    code = "TIMEOUT"
    exit_status = 8


class JobDied(HoldfastError):
    """The process that carried the operation out was killed, or ended by a mistake in Holdfast
    itself. Whoever it had stopped goes on by itself; holdfast recover finishes or undoes the
    rest."""

    code = "DIED"
    exit_status = 9


class JobInterrupted(HoldfastError):
    """The job was told to end, as by Ctrl-C: what was half done is undone, or finished where it
    could not be undone any more."""

    code = "INTERRUPTED"
    exit_status = 130
