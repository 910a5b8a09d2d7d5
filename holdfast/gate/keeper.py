"""The keeper: owns the kernel connection, forks workers, looks at storage through children.

Everything is imported before the first fork, so a new worker costs a fork and not a Python start.
The keeper opens no leg and holds no lock. When it dies, the worker starts another one (see
restoring); when the worker dies, this one forks another. Who stops on purpose says so in the page.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import Any, NoReturn

from holdfast.errors import HoldfastError
from holdfast.gate import shared
from holdfast.gate.channel import Probe, make_channel, receive, send, wait
from holdfast.gate.post import DEVICE_FILE, SOCKET_FILE, Post
from holdfast.gate.worker import Worker
from holdfast.system import cgroup, fuse
from holdfast.system.memory import never_kill_for_memory
from holdfast.system.process import watch_leader, watch_thread

LONGEST_DELAY_SECONDS = 1.0
"""Workers that die before they serve, again and again, are started with a growing delay."""


@dataclass
class Keeper:
    """One keeper process. `post` is what it shares with every worker."""

    post: Post
    channel: socket.socket
    worker_pid: int = 0
    watch: int | None = None
    sentinel: int | None = None
    """A thread of the worker that touches nothing, so that it ends when the worker is killed."""
    vain_starts: int = 0
    unburied: dict[int, int] = field(default_factory=dict)
    """Probes whose process has not ended (it may hang inside the kernel): process to leg."""

    def start_worker(self, ready: int | None = None) -> None:
        """Fork a worker."""
        cells = self.post.cells
        self.channel.close()
        self.channel, worker_end = make_channel()
        predecessor = self.worker_pid
        cells[shared.GENERATION] += 1
        keeper_pid = os.getpid()
        pid = os.fork()
        if pid == 0:
            self.channel.close()
            post = replace(self.post, keeper_pid=keeper_pid, predecessor_pid=predecessor)
            _become(lambda: Worker(post, worker_end, ready).run())
        worker_end.close()
        if ready is not None:
            os.close(ready)
        self.worker_pid = cells[shared.WORKER_PID] = pid
        if self.watch is not None:
            os.close(self.watch)
        self.watch = watch_leader(pid)
        self._watch_sentinel(None)

    def _watch_sentinel(self, thread_id: int | None) -> None:
        """Watch that thread of the worker, or none as long as it has not told us one."""
        if self.sentinel is not None:
            os.close(self.sentinel)
        self.sentinel = watch_thread(self.worker_pid, thread_id) if thread_id else None

    def run(self) -> None:
        """Watch the worker until the gate stops on purpose."""
        probes: list[Probe] = []
        while True:
            descriptors = [self.channel.fileno(), *(probe.pipe for probe in probes)]
            watches = {each for each in (self.watch, self.sentinel) if each is not None}
            descriptors += watches
            pending = min((probe.deadline - monotonic() for probe in probes), default=3600.0)
            readable = wait(descriptors, pending)
            if self.watch is None or readable & watches:
                if self.post.cells[shared.STOPPED] or not self.post.cells[shared.SERVING]:
                    return  # ended on purpose, or never began: whoever started it was told
                self._worker_died()
                continue
            while (message := receive(self.channel)) is not None:
                if "sentinel" in message:
                    self._watch_sentinel(message["sentinel"])
                else:
                    self._probe(message, probes)
            for probe in list(probes):
                answer = probe.answer()
                if answer is not None:
                    send(self.channel, answer)
                    probe.close()
                    probes.remove(probe)
            self._reap()

    def _probe(self, message: dict[str, Any], probes: list[Probe]) -> None:
        """Start the probe that the worker asks for, unless one is under way or hangs."""
        number, url = message["probe"], message["url"]
        self._reap()
        if any(probe.number == number for probe in probes):
            return
        if number in self.unburied.values():
            send(self.channel, {"probe": number, "url": url, "error": "the last probe hangs"})
            return
        probe = Probe(number, url, message["timeout_seconds"])
        self.unburied[probe.pid] = number
        probes.append(probe)

    def _worker_died(self) -> None:
        self.post.cells[shared.WORKER_DIED] = monotonic_ns()
        cells = self.post.cells
        if cells[shared.SERVING] == cells[shared.GENERATION]:
            self.vain_starts = 0
        else:
            self.vain_starts += 1
            delay = min(LONGEST_DELAY_SECONDS, 0.005 * 2**self.vain_starts)
            threading.Event().wait(delay)
        self.start_worker()
        self._reap()

    def _reap(self) -> None:
        """Bury children that have ended; those inside dead storage are left for later."""
        try:
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self.unburied.pop(pid, None)
        except ChildProcessError:
            return


def resume(
    state_directory: Path,
    run_directory: Path,
    connection: int,
    listener: int,
    channel: int,
    worker_pid: int,
) -> None:
    """Life of a keeper that a worker started because the one before died."""
    cells = shared.open_page(run_directory)
    cells[shared.KEEPER_GENERATION] += 1
    post = Post(state_directory, run_directory, cells, connection, socket.socket(fileno=listener))
    post.listener.setblocking(False)
    end = socket.socket(fileno=channel)
    end.setblocking(False)
    watch = watch_leader(worker_pid) if os.getppid() == worker_pid else None
    serve(Keeper(post, end, worker_pid, watch))


def serve(keeper: Keeper) -> None:
    """Watch until the gate stops, then remove what it leaves."""
    _enter_service(keeper.post)
    try:
        keeper.run()
    finally:
        fuse.unmount_file(keeper.post.run_directory / DEVICE_FILE, lazy=True)
        clean_up(keeper.post)


def _become(run: Callable[[], None]) -> NoReturn:
    """Run a forked child's whole life."""
    status = 1
    try:
        run()
        status = 0
    except BaseException:  # the last thing it can do is to say why
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _enter_service(post: Post) -> None:
    """What every keeper does first."""
    post.cells[shared.KEEPER_PID] = os.getpid()
    gc.collect()
    gc.freeze()  # workers share these pages, and never look through them
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a mounted file system needs it: stop by command
    try:
        never_kill_for_memory()
    except OSError as error:
        print(f"keeper: oom_score_adj: {error}", file=sys.stderr)


def clean_up(post: Post) -> None:
    """Remove what a gate leaves in the run directory; the device is unmounted already."""
    for name in (SOCKET_FILE, shared.FILE_NAME, DEVICE_FILE):
        (post.run_directory / name).unlink(missing_ok=True)
    cgroup.remove_group(post.run_directory.name)


def open_post(state_directory: Path, run_directory: Path, *, force: bool) -> Post:
    """Make what all processes of the gate share: device, connection, socket, page."""
    device = run_directory / DEVICE_FILE
    if device.is_mount():
        fuse.unmount_file(device)  # left by a gate that is gone
    device.touch(mode=0o600)
    socket_path = run_directory / SOCKET_FILE
    socket_path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(socket_path))
    socket_path.chmod(0o600)
    listener.listen(64)
    listener.setblocking(False)
    cells = shared.create_page(run_directory)
    cells[shared.KEEPER_GENERATION] = 1
    connection = fuse.open_connection()
    fuse.mount_file(connection, device)
    return Post(state_directory, run_directory, cells, connection, listener, force=force)


def main(state_directory: Path, run_directory: Path, ready: int, *, force: bool) -> None:
    """Life of the first keeper: set everything up, start the worker, watch it."""
    try:
        post = open_post(state_directory, run_directory, force=force)
    except HoldfastError as error:
        answer = {"code": error.code, "message": error.message, "mend": error.mend}
        os.write(ready, json.dumps(answer).encode())
        return
    keeper = Keeper(post, make_channel()[0])
    keeper.start_worker(ready)
    serve(keeper)
