"""The words of verdicts that several kinds of handles share. Pure."""

from __future__ import annotations

from holdfast.applications.rebind.facts import Facts
from holdfast.model.handle import Handle, HandleVerdict, JudgedHandle


def moved(handle: Handle, facts: Facts) -> JudgedHandle:
    """The process cannot tell the difference."""
    return JudgedHandle(handle, HandleVerdict.MOVED, facts.waiting)


def recreated(handle: Handle, reason: str) -> JudgedHandle:
    """An equal one takes its place."""
    return JudgedHandle(handle, HandleVerdict.RECREATED, reason)


def lost(handle: Handle, reason: str) -> JudgedHandle:
    """Nothing can take its place."""
    return JudgedHandle(handle, HandleVerdict.LOST, reason)


def blocks(handle: Handle, reason: str) -> JudgedHandle:
    """The rebind must not be begun."""
    return JudgedHandle(handle, HandleVerdict.BLOCKS, reason)
