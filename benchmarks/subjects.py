"""What is compared: each subject is a context manager that gives a mounted directory.

All have an ext4 file system on a loop device with direct I/O and 4 KiB sectors over an image of the
same size in the same folder; they differ in what lies between loop device and image.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.commands import BenchmarkError, run, start, wait_until
from holdfast.config import Settings
from holdfast.gate.data.compiled import VARIABLE

IMAGE_BYTES = 1 << 30


@dataclass(frozen=True)
class Ready:
    """A subject that can be worked on."""

    directory: Path
    servers: tuple[int, ...] = ()
    """Processes through which every request goes."""
    path: str = ""
    """Of Holdfast: which path its gate has, compiled or Python."""


Subject = Callable[[Path], AbstractContextManager[Ready]]


@contextmanager
def plain_loop(folder: Path) -> Iterator[Ready]:
    """The image itself under the loop device: nothing of ours in between."""
    with _mounted(make_image(folder), folder / "mount") as directory:
        yield Ready(directory)


@contextmanager
def qemu_export(folder: Path) -> Iterator[Ready]:
    """qemu-storage-daemon's FUSE export. For speed only: under a direct-I/O loop device several
    writes at once overwrite each other's data (a file system made through it does not mount), so
    the file system is made before the export begins."""
    image, served = make_image(folder), folder / "served"
    run("mkfs.ext4", "-q", "-b", "4096", image)
    served.touch()
    daemon = start(
        "qemu-storage-daemon",
        f"--blockdev=driver=file,node-name=image,filename={image}",
        f"--export=type=fuse,id=export,node-name=image,mountpoint={served},writable=on",
        log=folder / "log",
    )
    with serving(served, [daemon]), _mounted(served, folder / "mount", False) as directory:
        yield Ready(directory, (daemon.pid,))


@contextmanager
def nbdkit_fuse(folder: Path) -> Iterator[Ready]:
    """nbdkit's file plugin, shown as a file by nbdfuse."""
    image, served, socket = make_image(folder), folder / "served", folder / "socket"
    served.touch()
    with ExitStack() as stack:
        server = start(
            "nbdkit", "--foreground", f"--unix={socket}", "file", image, log=folder / "log"
        )
        stack.callback(_end, server)
        wait_until(socket.exists, "nbdkit's socket")
        fuse = start("nbdfuse", served, f"nbd+unix:///?socket={socket}", log=folder / "log")
        stack.enter_context(serving(served, [fuse]))
        directory = stack.enter_context(_mounted(served, folder / "mount"))
        yield Ready(directory, (server.pid, fuse.pid))


COMPILED, PYTHON = "compiled", "Python"


def holdfast(legs: int, journal: str, path: str = "") -> Subject:
    """A Holdfast volume with so many legs, made and removed by its own commands.

    `path` is COMPILED or PYTHON, or empty: as the environment says.
    """

    @contextmanager
    def subject(folder: Path) -> Iterator[Ready]:
        urls = [_leg_url(folder, number) for number in range(legs)]
        with HoldfastVolume(folder, urls, journal, path=path) as volume:
            gate = volume.show()["gate"]
            has = COMPILED if gate["compiled"] else PYTHON
            if path not in ("", has):
                raise BenchmarkError(f"the gate's path is {has}: see `holdfast doctor`")
            yield Ready(volume.directory, (gate["keeper_pid"], gate["worker_pid"]), has)

    return subject


class HoldfastVolume:
    """A volume in a HOLDFAST_HOME of its own under `folder`; everything is gone afterwards."""

    name = "bench"

    def __init__(
        self,
        folder: Path,
        leg_urls: list[str],
        journal: str = "unflushed",
        size_bytes: int = IMAGE_BYTES,
        options: tuple[str, ...] = (),
        path: str = "",
    ) -> None:
        self.folder = folder
        self.directory = folder / "mount"
        self.environment = {"HOLDFAST_HOME": str(folder / "home")}
        if path:
            self.environment[VARIABLE] = "0" if path == PYTHON else "1"
        legs = [f"--leg={url}" for url in leg_urls]
        place = [f"--size={size_bytes >> 20}M", f"--mount={self.directory}"]
        self._creation = [*place, f"--journal={journal}", *legs, *options]

    def __enter__(self) -> HoldfastVolume:
        (self.folder / "home").mkdir()
        self.directory.mkdir()
        try:
            self.command("volume", "create", self.name, *self._creation)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BenchmarkError):
            self.command("volume", "delete", self.name, "--yes")

    def command(self, *words: str) -> str:
        """Run `holdfast ...` on this home. Raises BenchmarkError."""
        program = Path(sys.executable).with_name("holdfast")
        return run(program, *words, environment=self.environment)

    @property
    def run_directory(self) -> Path:
        """Of its gate."""
        return Settings(home=self.folder / "home").gate_run_directory(self.name)

    def show(self) -> dict[str, Any]:
        """`volume show --json`."""
        return dict(json.loads(self.command("volume", "show", self.name, "--json")))


PLAIN, QEMU, NBDKIT = "plain loop", "qemu-storage-daemon", "nbdkit + nbdfuse"
ONE_LEG, TWO_LEGS = "holdfast, 1 leg", "holdfast, 2 legs + journal"
PEERS = (QEMU, NBDKIT)

SUBJECTS: dict[str, Subject] = {
    PLAIN: plain_loop,
    QEMU: qemu_export,
    NBDKIT: nbdkit_fuse,
    ONE_LEG: holdfast(1, "none"),
    TWO_LEGS: holdfast(2, "unflushed"),
}


def _leg_url(folder: Path, number: int) -> str:
    return f"file:{folder}/leg{number}.img"


def make_image(folder: Path) -> Path:
    """A sparse image of the size that all subjects have."""
    image = folder / "image"
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    return image


@contextmanager
def _mounted(backing: Path, directory: Path, make_file_system: bool = True) -> Iterator[Path]:
    directory.mkdir()
    options = ("--direct-io=on", "--sector-size=4096", "--find", "--show")
    device = run("losetup", *options, backing).strip()
    try:
        if make_file_system:
            run("mkfs.ext4", "-q", "-b", "4096", device)
        run("mount", device, directory)
        try:
            yield directory
        finally:
            run("umount", directory)
    finally:
        run("losetup", "--detach", device)


@contextmanager
def serving(served: Path, daemons: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Wait until a server shows the image at `served`; end it afterwards."""
    try:
        wait_until(lambda: served.stat().st_size == IMAGE_BYTES, f"{daemons[0].args!r}")
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(served)], check=False, capture_output=True)
        for daemon in daemons:
            _end(daemon)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def remove_folder(folder: Path) -> None:
    """Delete what a subject left; never across a mount that could not be removed."""
    mounts = Path("/proc/self/mountinfo").read_text()
    if f" {folder}/" not in mounts:
        shutil.rmtree(folder, ignore_errors=True)
