"""What a rebind does with a handle: the verdicts that drivers give, and those on kinds without one.

Pure.
"""

from __future__ import annotations

from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.model.handle import Handle, HandleKind, HandleVerdict, JudgedHandle


def moved(handle: Handle, facts: ProcessTraits) -> JudgedHandle:
    """The process cannot tell the difference."""
    return JudgedHandle(handle, HandleVerdict.MOVED, facts.waiting)


def recreated(handle: Handle, reason: str) -> JudgedHandle:
    """The verdict on a handle whose place an equal one takes."""
    return JudgedHandle(handle, HandleVerdict.RECREATED, reason)


def lost(handle: Handle, reason: str) -> JudgedHandle:
    """The verdict on a handle whose place nothing can take."""
    return JudgedHandle(handle, HandleVerdict.LOST, reason)


def blocks(handle: Handle, reason: str) -> JudgedHandle:
    """The rebind must not be begun."""
    return JudgedHandle(handle, HandleVerdict.BLOCKS, reason)


REASONS = {
    HandleKind.LOOP: "a loop device has its image there: detach it (losetup --detach)",
    HandleKind.MOUNT: "something is mounted below it: unmount that first",
    HandleKind.SWAP: "swap lies there: swapoff first",
    HandleKind.UNREAD: "it hangs in the kernel, or has very many: end what it waits for",
    HandleKind.REGISTERED: "the kernel tells its name, and not how it was opened: let the process"
    " take it out of the ring (IORING_UNREGISTER_FILES), or end it",
    HandleKind.OTHER: "nothing can take its place",
}


def judge(handle: Handle) -> JudgedHandle:
    """The verdict for a handle of a kind that has no driver."""
    return blocks(handle, REASONS[handle.kind])
