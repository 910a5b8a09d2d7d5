"""The expendable process that copies, and the side of it that asks.

Owns the private mounts of source and target: nobody else sees them, and they vanish with the
process, which dies with its parent. Invariant: between commands the process waits on a pipe and
touches no storage; once told to leave the source it keeps nothing of it. The parent never waits
longer than it says for the storage below.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from holdfast.errors import (
    ContainerFailed,
    DeadlinePassed,
    HoldfastError,
    StorageFailed,
    TooSmall,
    by_code,
)
from holdfast.model.volume import DEFAULT_SECTOR_BYTES
from holdfast.restoration.copying.locating import Question, as_questions, locate
from holdfast.restoration.copying.passes import PassResult, Replica
from holdfast.system.detached import mount_detached
from holdfast.system.filesystem import make_filesystem
from holdfast.system.loop import attach_private_loop
from holdfast.system.mount_api import attributes_of, clone_tree, open_place, set_attributes

START_SECONDS = 330.0
"""mkfs has 300 s."""
PASS_SECONDS = 7 * 86400.0
"""An online pass takes as long as the data is large; it is given up when it stands still."""
STILL_SECONDS = 120.0
"""Without a sign of life for so long: the storage hangs."""

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_LET_GO_SECONDS = 10.0
_NAME = b"holdfast-copy"
_PR_SET_NAME = 15
_LIBC = ctypes.CDLL(None, use_errno=True)

_PRIVATE = attributes_of("rw,nosuid,nodev,noexec,noatime,nosymfollow")
_UNTOUCHED = attributes_of("ro,nosuid,nodev,noexec,noatime,nosymfollow")
"""The views through which we see either side: nothing is run from them, no link leads anywhere, and
looking at the source leaves no trace in it."""

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Target:
    """Where to copy to."""

    path: str
    """Image file or block device."""
    size_bytes: int
    """How much of it belongs to the file system; 0: all."""
    filesystem: str
    label: str
    uuid: str
    make: bool = True
    """Whether to make the file system first: what is there is lost."""
    options: str = ""
    """Of the file system, where they decide how what is copied is stored."""
    sector_bytes: int = DEFAULT_SECTOR_BYTES
    """As the device will have it from which it is mounted for applications."""


@dataclass(frozen=True)
class Source:
    """Where to copy from: what is mounted at a path (without mounts below), or the file system on a
    device or in an image."""

    path: str = ""
    device: str = ""
    filesystem: str = ""
    options: str = ""
    """Of the file system on `device`."""
    read_only: bool = True
    """As the kernel has it when it is mounted elsewhere, too: both must agree."""
    is_image: bool = False
    """Whether `device` is an image, or a device that is to be read in part."""
    offset_bytes: int = 0
    size_bytes: int = 0
    sector_bytes: int = 512


class Copying:
    """The parent's handle on the process. Close it whatever happens."""

    def __init__(self, source: Source, target: Target) -> None:
        """Start the process, make the file system and mount both sides. Raises HoldfastError."""
        self._commands, theirs = _pipe_to_child()
        answers, self_writing = os.pipe2(os.O_CLOEXEC)
        self._answers = answers
        self._rest = b""
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._commands)
            os.close(answers)
            _serve(theirs, self_writing, parent)
        os.close(theirs)
        os.close(self_writing)
        try:
            self._ask("start", START_SECONDS, source=asdict(source), target=asdict(target))
        except BaseException:
            self.close()
            raise

    def run_pass(
        self,
        progress: Progress | None = None,
        *,
        verify: bool = False,
        seconds: float = PASS_SECONDS,
    ) -> PassResult:
        """Copy what changed, and write it to storage; blocks as long as that takes, at most
        `seconds`. Raises HoldfastError."""
        answer = self._ask("run", min(seconds, PASS_SECONDS), progress, verify=verify)
        return PassResult(**answer)

    def room(self) -> dict[str, int]:
        """`source_used_bytes`, `target_bytes` (free plus used), by statvfs(3)."""
        return {key: int(value) for key, value in self._ask("room", STILL_SECONDS).items()}

    def leave_source(self, seconds: float = STILL_SECONDS) -> None:
        """Let go of the source, so that it can be dismounted."""
        self._ask("leave", min(seconds, STILL_SECONDS))

    def take_source(self, source: Source, seconds: float = STILL_SECONDS) -> None:
        """Mount a device as the source, read-only and unseen."""
        self._ask("source", min(seconds, STILL_SECONDS), source=asdict(source))

    def locate(
        self, inodes: Mapping[str, tuple[str, int, str]], seconds: float
    ) -> dict[str, tuple[str, str]]:
        """Where the files of inodes are in the copy, see locating."""
        answer = self._ask("locate", min(seconds, STILL_SECONDS), questions=as_questions(inodes))
        return {name: (path, identity) for name, (path, identity) in answer["places"].items()}

    def finish(self, seconds: float = STILL_SECONDS) -> dict[str, int]:
        """Make the copy durable and let go of everything; what it lacks, and how many
        files lack it."""
        answer = self._ask("finish", min(seconds, STILL_SECONDS))
        self._wait(_LET_GO_SECONDS)
        return dict(answer["not_kept"])

    def close(self) -> None:
        """End the process, whatever it is doing; its mounts and loop devices go. Idempotent."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self._wait(_LET_GO_SECONDS)
        for descriptor in (self._commands, self._answers):
            if descriptor >= 0:
                os.close(descriptor)
        self._commands = self._answers = -1

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.pid:
            pid, _ = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
            elif time.monotonic() > deadline:
                return  # it hangs in the kernel: init collects it
            else:
                time.sleep(0.002)

    def _ask(
        self, verb: str, seconds: float, progress: Progress | None = None, **arguments: Any
    ) -> dict[str, Any]:
        _write_line(self._commands, {"verb": verb, **arguments})
        deadline = time.monotonic() + seconds
        while True:
            answer = self._read(min(STILL_SECONDS + START_SECONDS, deadline - time.monotonic()))
            if "percent" in answer:
                if progress is not None:
                    progress(float(answer["percent"]))
            elif "error" in answer:
                kind = by_code(answer["code"]) or StorageFailed
                raise kind(answer["error"], answer["mend"])
            else:
                return answer

    def _read(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        poller = select.poll()
        poller.register(self._answers, select.POLLIN)
        while b"\n" not in self._rest:
            remaining_seconds = deadline - time.monotonic()
            if remaining_seconds <= 0 or not poller.poll(int(remaining_seconds * 1000) + 1):
                raise DeadlinePassed("the copy stands still", "The storage below may hang.")
            part = os.read(self._answers, 1 << 16)
            if not part:
                raise StorageFailed("the process that copies has died")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return dict(json.loads(line))


def _pipe_to_child() -> tuple[int, int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    return writing, reading


def _write_line(descriptor: int, value: dict[str, Any]) -> None:
    view = memoryview(json.dumps(value).encode() + b"\n")
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        raise StorageFailed("the process that copies has died") from None


def _serve(commands: int, answers: int, parent: int) -> None:
    """The child: one command after the other, until the pipe ends."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _LIBC.prctl(_PR_SET_NAME, _NAME, 0, 0, 0)
        if os.getppid() != parent:
            return
        os.chdir("/")
        worker = _Worker(lambda percent: _write_line(answers, {"percent": percent}))
        with open(commands, "rb", closefd=False) as lines:
            for line in lines:
                arguments = json.loads(line)
                verb = str(arguments.pop("verb"))
                _write_line(answers, _answer(worker, verb, arguments))
                if verb == "finish":
                    break
        status = 0
    finally:
        os._exit(status)


def _answer(worker: _Worker, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = getattr(worker, verb)(**arguments)
        return answer
    except HoldfastError as error:
        return {"code": error.code, "error": error.message, "mend": error.mend}
    except OSError as error:
        return _os_error(error)
    except MemoryError:
        return {
            "code": StorageFailed.code,
            "error": "the copy ran out of memory",
            "mend": "Each name takes some hundred bytes. Nothing was changed for applications.",
        }


def _os_error(error: OSError) -> dict[str, Any]:
    name = os.fsdecode(error.filename) if error.filename else ""
    words = f"the copy failed: {error.strerror}{f' ({name})' if name else ''}"
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return {"code": TooSmall.code, "error": words, "mend": "Use a larger container."}
    return {
        "code": ContainerFailed.code,
        "error": words,
        "mend": "Look at the storage of both sides; nothing was changed for applications.",
    }


class _Worker:
    """What the child has open, and what it can be told to do; answers are JSON values."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._source = self._target = self._loop = self._image = -1
        self._replica: Replica | None = None
        self._filesystem = ""
        self._is_read_only = False

    def start(self, source: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
        """Attach, make and mount."""
        wanted = Target(**target)
        device, self._loop = attach_private_loop(
            wanted.path, wanted.size_bytes, sector_bytes=wanted.sector_bytes
        )
        if wanted.make:
            make_filesystem(wanted.filesystem, device, wanted.label, wanted.uuid)
        options = _by_name(wanted.options)
        self._target = mount_detached(wanted.filesystem, options, source=device)
        set_attributes(self._target, _PRIVATE)
        self._filesystem = wanted.filesystem
        self.source(source)
        return {"device": device}

    def source(self, source: dict[str, Any]) -> dict[str, Any]:
        """Mount the source, or look at what is mounted."""
        wanted = Source(**source)
        if wanted.path:
            self._source = _clone(wanted.path)
        else:
            device = wanted.device
            if wanted.is_image:
                device, self._image = attach_private_loop(
                    wanted.device,
                    wanted.size_bytes,
                    offset_bytes=wanted.offset_bytes,
                    sector_bytes=wanted.sector_bytes,
                    read_only=True,
                )
            options = _by_name(wanted.options)
            self._source = mount_detached(
                wanted.filesystem, options, source=device, read_only=wanted.read_only
            )
        self._is_read_only = bool(os.fstatvfs(self._source).f_flag & os.ST_RDONLY)
        set_attributes(self._source, _UNTOUCHED)
        root = _root(self._source)
        if self._replica is None:
            target = _root(self._target)
            self._replica = Replica(root, target, self._sync_source, self._filesystem)
        else:
            self._replica.take_source(root)
        return {}

    def room(self) -> dict[str, Any]:
        """How much is used here and how much fits there."""
        ours, theirs = os.statvfs(_root(self._source)), os.statvfs(_root(self._target))
        return {
            "source_used_bytes": (ours.f_blocks - ours.f_bfree) * ours.f_frsize,
            "target_bytes": theirs.f_blocks * theirs.f_frsize,
        }

    def leave(self) -> dict[str, Any]:
        """Close the source."""
        for descriptor in (self._source, self._image):
            if descriptor >= 0:
                os.close(descriptor)
        self._source = self._image = -1
        return {}

    def locate(self, questions: list[Question]) -> dict[str, Any]:
        """Where the copies of inodes are."""
        assert self._replica is not None
        source = self._source if self._source >= 0 else None
        return {"places": locate(self._replica.known, source, self._target, questions)}

    def finish(self) -> dict[str, Any]:
        """Flags, sync, and everything closed: the kernel lets go before the answer is sent."""
        assert self._replica is not None
        self._replica.set_late_flags()
        _sync(self._target)
        self.leave()
        os.close(self._target)
        os.close(self._loop)
        self._target = self._loop = -1
        return {"not_kept": self._replica.not_kept()}

    def _sync_source(self) -> None:
        if not self._is_read_only:
            _sync(self._source)

    def run(self, verify: bool) -> dict[str, Any]:
        """One pass. Written to storage at once: not left to the time when everybody waits, and
        what storage refuses is known before."""
        assert self._replica is not None
        begun = time.monotonic()
        result = self._replica.run_pass(self._progress, verify=verify)
        _sync(self._target)
        result.seconds = time.monotonic() - begun
        return asdict(result)


def _clone(path: str) -> int:
    """A view of what is mounted at the path, without the mounts below; caller closes.

    The path has no links in it: whoever puts one there now cannot lead us elsewhere.
    """
    place = open_place(path)
    try:
        return clone_tree(place)
    finally:
        os.close(place)


def _by_name(options: str) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in options.split(",") if word)


def _root(mount: int) -> bytes:
    return b"/proc/self/fd/%d/." % mount


def _sync(mount: int) -> None:
    """syncfs(2), which takes no O_PATH descriptor."""
    root = os.open(_root(mount), os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _LIBC.syncfs(root) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(root)
