"""The expendable process that copies, and how its parent talks to it.

The process dies with its parent, and its private mounts vanish with it. Invariant: between commands
the process waits on a pipe and touches no storage. The parent waits for an answer no longer than
the caller allows.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.parking.placed_contents import CopiedAhead, OpenFile
from holdfast.error_codes import by_code
from holdfast.errors import ContainerFailed, DeadlinePassed, HoldfastError, StorageFailed, TooSmall
from holdfast.restoration.copying.passes import PassResult
from holdfast.restoration.copying.process.worker import CopyWorker, Progress
from holdfast.restoration.copying.sides import CopySource, CopyTarget
from holdfast.restoration.copying.trees.locating import as_questions
from holdfast.system.processes.process import fork_bound, set_name
from holdfast.system.processes.stops import ignore_stops

START_SECONDS = 330.0
"""mkfs has 300 s."""
PASS_SECONDS = 7 * 86400.0
"""An online pass takes as long as the data is large; it is given up when it stands still."""
STILL_SECONDS = 120.0
"""Without a sign of life for so long: the storage hangs."""

_LET_GO_SECONDS = 10.0
_NAME = "holdfast-copy"


class Copying:
    """The parent's handle on the process. Close it whatever happens."""

    def __init__(self, source: CopySource, target: CopyTarget) -> None:
        """Start the process, make the file system and mount both sides. Raises HoldfastError."""
        self._commands, theirs = _pipe_to_child()
        answers, self_writing = os.pipe2(os.O_CLOEXEC)
        self._answers = answers
        self._rest = b""
        self.pid = fork_bound()
        if self.pid == 0:
            os.close(self._commands)
            os.close(answers)
            _serve(theirs, self_writing)
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

    def copy_ahead(
        self, directory: Path, files: Sequence[OpenFile], *, onto_target: bool
    ) -> tuple[CopiedAhead, float]:
        """Copy what no name leads to, see placed_contents; what was copied, and how many seconds it
        took. Raises HoldfastError."""
        answer = self._ask(
            "ahead",
            PASS_SECONDS,
            directory=str(directory),
            files=[asdict(each) for each in files],
            onto_target=onto_target,
        )
        return CopiedAhead(**answer["ahead"]), float(answer["seconds"])

    def leave_source(self, seconds: float = STILL_SECONDS) -> None:
        """Let go of the source, so that it can be dismounted."""
        self._ask("leave", min(seconds, STILL_SECONDS))

    def take_source(self, source: CopySource, seconds: float = STILL_SECONDS) -> None:
        """Mount a device as the source, read-only and unseen."""
        self._ask("source", min(seconds, STILL_SECONDS), source=asdict(source))

    def locate(
        self, inodes: Mapping[str, tuple[str, int, str]], seconds: float
    ) -> dict[str, tuple[str, str]]:
        """Find where the files of inodes are in the copy, see `locating`."""
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


def _serve(commands: int, answers: int) -> None:
    """The child: one command after the other, until the pipe ends."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        ignore_stops()  # the last pass is made while others stand
        set_name(_NAME)
        os.chdir("/")
        worker = CopyWorker(lambda percent: _write_line(answers, {"percent": percent}))
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


def _answer(worker: CopyWorker, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
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
