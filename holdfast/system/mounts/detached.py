"""File systems that are mounted nowhere: reached by descriptor only, gone with the last user.

Owns fsopen(2), fsconfig(2) and fsmount(2) of <linux/mount.h> (Linux 5.2). Invariant: nothing
appears in any mount table, so the death of whoever made one leaves nothing to be cleaned up. Must
never be used for storage that may hang by a process that matters: all of it may block.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from holdfast.errors import CommandFailed
from holdfast.system.raw_call import raw_call

# <asm-generic/unistd.h>; the same on every architecture
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432

# <linux/mount.h>
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC = 1, 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6  # enum fsconfig_command
_READ_ONLY, _NO_SUID, _NO_DEVICES = 0x1, 0x2, 0x4
_COMPLAINT_BYTES = 1024


def mount_detached(
    filesystem: str,
    options: Mapping[str, str],
    *,
    source: str = "",
    read_only: bool = False,
    devices: bool = False,
) -> int:
    """A descriptor (O_PATH) of the root of a file system that is attached nowhere; caller closes.

    It lives on as long as anything of it is open. `options` are those of the file system, not of
    the mount; one with an empty value is a flag. Devices of it can be opened only with `devices`,
    and no set-user-ID bit counts. Raises CommandFailed with the kernel's words.
    """
    settings = {"source": source} if source else {}
    settings |= {**options, "ro": ""} if read_only else options
    context = -1
    try:
        context = raw_call(_FSOPEN, filesystem.encode(), _FSOPEN_CLOEXEC)
        for name, value in settings.items():
            command = _SET_STRING if value else _SET_FLAG
            raw_call(_FSCONFIG, context, command, name.encode(), os.fsencode(value) or None, 0)
        raw_call(_FSCONFIG, context, _CREATE, None, None, 0)
        attributes = _NO_SUID | (0 if devices else _NO_DEVICES) | (_READ_ONLY if read_only else 0)
        return raw_call(_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes)
    except OSError as error:
        words = _complaints(context) or error.strerror or str(error)
        what = source or "it"
        raise CommandFailed(f"{what} cannot be mounted as {filesystem}: {words}") from error
    finally:
        if context >= 0:
            os.close(context)


def _complaints(context: int) -> str:
    """What the kernel has to say: messages are read from the context, `e ` or `w ` before each."""
    words = []
    with suppress(OSError):
        while context >= 0:
            words.append(os.read(context, _COMPLAINT_BYTES).decode(errors="replace")[2:].strip())
    return "; ".join(words)
