"""A uprobe keeps the file system of its file: found beforehand, or undone, and named."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked, InUse
from holdfast.model.finding import Verdict
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount
from holdfast.service import AssessRequest, Holdfast, MigrateRequest
from tests.kernel.mountpoints.bench import MountBench
from tests.kernel.restoration.bench import make_image, mounted

_EVENTS = Path("/sys/kernel/tracing/uprobe_events")
_NUMBER_OF_TYPE = Path("/sys/bus/event_source/devices/uprobe/type")
_PERF_EVENT_OPEN = 298  # x86-64, arch/x86/entry/syscalls/syscall_64.tbl
_ATTRIBUTES_BYTES = 112  # PERF_ATTR_SIZE_VER5
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC
_OFFSET = 0x4000  # in the text of /bin/true

pytestmark = pytest.mark.skipif(not _EVENTS.exists(), reason="this kernel has no uprobes")


@contextmanager
def uprobe(program: Path) -> Iterator[str]:
    """One that is enabled; the name of its event. Removed at the end, if it is still there."""
    event = f"holdfast{os.getpid()}/probe"
    change(f"p:{event} {program}:{_OFFSET:#x}")
    enable = _EVENTS.parent / "events" / event / "enable"
    enable.write_text("1")
    try:
        yield event
    finally:
        with suppress(FileNotFoundError):
            enable.write_text("0")
            change(f"-:{event}")


def change(line: str) -> None:
    """Append one; the file cannot be sought in."""
    descriptor = os.open(_EVENTS, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, line.encode() + b"\n")
    finally:
        os.close(descriptor)


def perf_uprobe(program: Path) -> int:
    """As BPF tools set one: a perf event of the kind "uprobe" (perf_event_open(2))."""
    name = ctypes.create_string_buffer(os.fsencode(program))
    attributes = bytearray(_ATTRIBUTES_BYTES)
    attributes[0:4] = int(_NUMBER_OF_TYPE.read_text()).to_bytes(4, "little")
    attributes[4:8] = _ATTRIBUTES_BYTES.to_bytes(4, "little")
    attributes[56:64] = ctypes.addressof(name).to_bytes(8, "little")  # config1: uprobe_path
    attributes[64:72] = _OFFSET.to_bytes(8, "little")  # config2: probe_offset
    libc = ctypes.CDLL(None, use_errno=True)
    view = (ctypes.c_char * _ATTRIBUTES_BYTES).from_buffer(attributes)
    descriptor = int(libc.syscall(_PERF_EVENT_OPEN, view, -1, 0, -1, _CLOSE_ON_EXEC))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor


def program_on(path: Path) -> Path:
    return Path(shutil.copy("/bin/true", path / "program"))


def test_one_of_tracefs_is_found_beforehand(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", "ext4")
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        program = program_on(path)
        holdfast.adopt_volume("data", str(path))
        url = f"file:{ram_directory}/2.img"
        with uprobe(program) as event:
            plan = holdfast.restorations.assess(AssessRequest("data", urls=(url,))).plan
            (finding,) = [each for each in plan.findings if each.subject == "uprobe"]
            assert finding.verdict is Verdict.BLOCKS
            assert finding.found == f"{event} is set in {program}"
            with pytest.raises(Blocked, match="uprobe"):
                holdfast.restorations.migrate(MigrateRequest("data", urls=(url,)))
            command = finding.mend.removeprefix("Remove it: ")
            subprocess.run(command, shell=True, check=True)
            holdfast.restorations.migrate(MigrateRequest("data", urls=(url,)))


def test_whoever_sets_one_meanwhile_is_named(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("1"), "mnt")
        program = program_on(path)
        with uprobe(program) as event:
            with pytest.raises(InUse, match=f"the uprobe {event} in {program}"):
                dismount(capture(str(path)))
            assert path.is_mount()
        dismount(capture(str(path)))


def test_one_of_a_program_is_suspected_when_all_is_undone(ram_directory: Path) -> None:
    """Nothing tells what a perf event is of."""
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("1"), "mnt")
        descriptor = perf_uprobe(program_on(path))
        try:
            named = rf"process {os.getpid()}: descriptor {descriptor}\b"
            with pytest.raises(InUse, match=rf"uprobe among the perf events of .*{named}"):
                dismount(capture(str(path)))
            assert path.is_mount()
        finally:
            os.close(descriptor)
        dismount(capture(str(path)))
