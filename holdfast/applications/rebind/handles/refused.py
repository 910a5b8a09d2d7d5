"""Handles that cannot be moved: they keep a rebind from being begun, each with its reason. Pure."""

from __future__ import annotations

from holdfast.applications.rebind.handles.judging import blocks
from holdfast.model.handle import Handle, HandleKind, JudgedHandle

REASONS = {
    HandleKind.FIFO: "what is in the pipe, and who waits at its ends, belongs to this FIFO's inode",
    HandleKind.DEVICE: "opening a device again may mean something else to it than keeping it open",
    HandleKind.SOCKET: "a bound socket cannot be bound to another inode",
    HandleKind.LOOP: "a loop device has its image there: detach it (losetup --detach)",
    HandleKind.MOUNT: "something is mounted below it: unmount that first",
    HandleKind.SWAP: "swap lies there: swapoff first",
    HandleKind.OTHER: "nothing can take its place",
}


def judge(handle: Handle) -> JudgedHandle:
    """The verdict for a handle of a kind that has no driver."""
    return blocks(handle, REASONS[handle.kind])
