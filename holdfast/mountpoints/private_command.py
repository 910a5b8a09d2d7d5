"""Running an administrator's command on a file system that nobody else sees: `run_on`.

Whatever it does ends with it, and touches nothing but that file system: it has process numbers,
shared memory and a network of its own (with the loopback device alone), sees every other file
system read-only, and finds /run and /dev/shm empty. That is against accidents, such as a second
database server that takes the first one's socket for stale; it is root's command, and no prison.
Must never be called outside an expendable child: it is elsewhere afterwards.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

from holdfast.errors import Untrusted
from holdfast.mountpoints.private_mount import mount_privately
from holdfast.mountpoints.scratch import scratch_directory
from holdfast.system.files.programs import judge_program
from holdfast.system.files.trusted import open_parent
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_table import MNT_DETACH, is_under
from holdfast.system.mounts.visitor import Visitor
from holdfast.system.processes.apart_from_others import part_from_others, raise_loopback
from holdfast.system.processes.process import die_with_parent

_RUN, _SHARED_MEMORY = "/run", "/dev/shm"
EMPTY = (_RUN, _SHARED_MEMORY)
"""What it finds empty, but for the directories that are in the first one."""
_READ_WRITE = "rw,nosuid,nodev,relatime"
_WORDS_BYTES = 1000
"""Of what it said, the end."""
_NICE = 10
"""As the copies that are made for it: less than anybody else."""
_CANNOT_BEGIN = 126
"""As a shell has it."""
_PIPE_READ_BYTES = 1 << 16


class CommandEnd(NamedTuple):
    """How a command ended."""

    status: int | None
    """Its exit status, 128 and the number of the signal that ended it; None: at its deadline."""
    said: str
    """The end of what it wrote."""


class PrivatePlace(NamedTuple):
    """What it runs on."""

    image: str
    filesystem: str
    options: str
    """To mount it with."""
    path: str
    """Where the command finds it: there it covers what everybody else sees, in its own sight. Where
    there is no such directory, or others may exchange one above it: elsewhere, as
    `HOLDFAST_DRILL_PATH` says."""


def run_on(
    place: PrivatePlace, words: Sequence[str], environment: Mapping[str, str], seconds: float
) -> CommandEnd:
    """Mount it, and run the command until it ends or so much time has passed.

    All that it began, also in the background, is ended then, and with this process, whoever kills
    that. Raises StorageFailed, CommandFailed, OSError.
    """
    visitor = Visitor()
    root = mount_privately(
        visitor, place.image, place.filesystem, place.options, hears_of_others=True
    )
    path = _arrange(visitor, root, place.path)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    theirs, lifeline = os.pipe2(os.O_CLOEXEC)
    part_from_others()
    first = os.fork()
    if first == 0:
        os.close(lifeline)
        _be_first(visitor, words, {**environment, "HOLDFAST_DRILL_PATH": path}, writing, theirs)
    os.close(writing)
    os.close(theirs)
    return _await_end(first, reading, time.monotonic() + seconds)


def _arrange(visitor: Visitor, root: int, wanted: str) -> str:
    """Put everything in its place, in this namespace; where the file system is."""
    folders = _folders_of(_RUN)
    mount_api.make_all_read_only(mount_api.open_place("/"))
    mount_api.set_attributes(root, mount_api.attributes_of(_READ_WRITE))
    path = scratch_directory()
    if _leads_where_it_did(wanted):
        with suppress(OSError):
            while True:  # what everybody else sees there; EINVAL in the end
                visitor.dismount(wanted, MNT_DETACH)
        if not any(is_under(wanted, place) for place in EMPTY):
            with suppress(OSError):
                mount_api.attach_tree(mount_api.clone_tree(root), mount_api.open_place(wanted))
                path = wanted
    for place in EMPTY:
        if Path(place).is_dir():
            visitor.mount("tmpfs", place, "tmpfs")
    Path(_RUN).chmod(0o755)
    for name, status in folders:
        folder = Path(_RUN, name)
        folder.mkdir(exist_ok=True)
        os.chown(folder, status.st_uid, status.st_gid)
        folder.chmod(stat.S_IMODE(status.st_mode))
    return path


def _leads_where_it_did(path: str) -> bool:
    """Whether nobody but root can have a path lead elsewhere while the command is at work: it
    believes, removes and runs as root what it finds there."""
    try:
        with open_parent(path):
            return True
    except (Untrusted, OSError):
        return False


def _folders_of(place: str) -> list[tuple[str, os.stat_result]]:
    """Servers expect directories of their own there, to put sockets into."""
    found = []
    with suppress(OSError), os.scandir(place) as entries:
        for each in entries:
            with suppress(OSError):
                if each.is_dir(follow_symlinks=False):
                    found.append((each.name, each.stat(follow_symlinks=False)))
    return found


def _be_first(
    visitor: Visitor,
    words: Sequence[str],
    environment: Mapping[str, str],
    output: int,
    lifeline: int,
) -> NoReturn:
    """The first of its processes: when it ends, the kernel kills all others (pid_namespaces(7))."""
    code = _CANNOT_BEGIN
    try:
        die_with_parent()
        poller = select.poll()
        poller.register(lifeline, select.POLLIN)
        if not poller.poll(0):  # who began us lives, and will be missed
            os.nice(_NICE)
            visitor.mount("proc", "/proc", "proc")
            raise_loopback()
            code = _carry_out(words, environment, output)
    except (OSError, Untrusted) as error:
        os.write(output, f"{error}\n".encode(errors="replace"))
    finally:
        os._exit(code)


def _carry_out(words: Sequence[str], environment: Mapping[str, str], output: int) -> int:
    judge_program(words)  # the file system may cover the place where it was judged
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**environment, "TMPDIR": _SHARED_MEMORY},
        cwd="/",
        start_new_session=True,
    )
    while True:  # whatever else it leaves behind is ours to bury
        pid, status = os.wait()
        if pid == process.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _await_end(first: int, reading: int, deadline: float) -> CommandEnd:
    """Read what it says until the first of its processes has ended, or is ended."""
    said = b""
    watched = os.pidfd_open(first)
    poller = select.poll()
    poller.register(watched, select.POLLIN)
    poller.register(reading, select.POLLIN)
    in_time = True
    while True:
        left = deadline - time.monotonic()
        if left <= 0 and in_time:
            in_time = False
            os.kill(first, signal.SIGKILL)
        ready = dict(poller.poll(max(1, int(left * 1000)) if in_time else None))
        if ready.get(reading, 0) & select.POLLIN:
            said = (said + os.read(reading, _PIPE_READ_BYTES))[-_WORDS_BYTES:]
        elif reading in ready:
            poller.unregister(reading)
        elif watched in ready:  # all of them are gone, and what they said was read
            break
    _, status = os.waitpid(first, 0)
    code = os.waitstatus_to_exitcode(status)
    words = said.decode(errors="replace").strip()
    if not in_time:
        return CommandEnd(None, words)
    return CommandEnd(code if code >= 0 else 128 - code, words)
