"""Mounts whose options nobody in a lesser user namespace can take away.

The kernel locks the options of a mount (read-only, nosuid, nodev, noexec, access times) when it is
copied into a mount namespace that another user namespace owns: mount_namespaces(7). What root puts
into such a namespace by move_mount(2) is not locked: its owner, who may be anybody, would take
`nodev` away and open a device node. Invariant: what is returned is locked as if it had been there
since that namespace was made. Must be called by an expendable child in a mount namespace of its
own: it mounts there.
"""

from __future__ import annotations

import ctypes
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from holdfast.system.mounts import mount_api
from holdfast.system.processes.process import fork_bound

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000  # <linux/sched.h>
_MNT_DETACH = 2  # <linux/fs.h>
_LIBC = ctypes.CDLL(None, use_errno=True)


def locked_copy(tree: int, attributes: mount_api.MountAttributes, folder: str) -> int:
    """A copy of a detached mount with these options, all of them locked; caller closes.

    `folder`: a directory to mount on for a moment. It comes from a mount namespace of a new user
    namespace, which ends at once. Raises OSError, where the host allows no user namespaces, too.
    """
    mount_api.set_attributes(tree, attributes)
    is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    with _somewhere(tree, folder if is_directory else os.path.realpath(__file__)) as place:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            child = fork_bound()
            if child == 0:
                _copy_from_inside(place, theirs)
            theirs.close()
            words, descriptors, _, _ = socket.recv_fds(ours, 16, 1)
            os.waitpid(child, 0)
    if not descriptors:
        number = int(words or b"0")
        raise OSError(number, os.strerror(number))
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


@contextmanager
def _somewhere(tree: int, path: str) -> Iterator[str]:
    """Have it mounted at a place of our own, where a path leads to it."""
    spot = mount_api.open_place(path)
    try:
        mount_api.attach_tree(tree, spot)
    finally:
        os.close(spot)
    try:
        yield path
    finally:
        if _LIBC.umount2(os.fsencode(path), _MNT_DETACH) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)


def _copy_from_inside(place: str, answer: socket.socket) -> NoReturn:
    """Copy the mount in a child with a user namespace of its own; send it, or the errno."""
    try:
        if _LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
            answer.send(b"%d" % ctypes.get_errno())
        else:
            copy = mount_api.clone_tree(mount_api.open_place(place))
            socket.send_fds(answer, [b"0"], [copy])
    except OSError as error:
        answer.send(b"%d" % (error.errno or 0))
    finally:
        os._exit(0)
