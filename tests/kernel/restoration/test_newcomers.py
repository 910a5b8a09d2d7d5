"""Who comes by path while a volume is away: whatever is killed, nobody waits for ever, nobody sees
the bare directory, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import StorageFailed
from holdfast.restoration.performing.perform import perform
from holdfast.restoration.records.record import read_record
from holdfast.service import AssessRequest, Holdfast
from holdfast.system.fuse.cover_server import FILE_SYSTEM, CoverServer
from holdfast.system.mounts.all_namespaces import all_mount_points
from tests.forked import in_fork
from tests.kernel.restoration.bench import application, make_image, mounted
from tests.waiting import wait_until

WRITE = """
import sys
with open(sys.argv[1], "x") as file:
    file.write("from a newcomer")
"""

SERVE = """
import os, sys
print("ready", flush=True)
for line in sys.stdin:
    try:
        with open(line.strip(), "x") as file:
            file.write("from a service")
        print("written", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""

KILLED_AT = [
    "after dismount",
    "in restore",
    "after restore",
    "in remount",
    "after remount",
    "in replay",
]


def migrate(
    settings: Settings, url: str, checkpoint: Callable[[str], None], deadline_seconds: float = 60
) -> None:
    """Migrate the volume `data`; something is done at each place of it."""
    with Holdfast(settings) as holdfast:
        wish = AssessRequest(
            "data", None, (url,), filesystem="ext4", deadline_seconds=deadline_seconds
        )
        found = holdfast.restorations.assess(wish)
        perform(settings, holdfast.catalog, found, checkpoint=checkpoint)


@contextmanager
def newcomer(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Writes a file by its path; waits at the cover when this is entered."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path)], cwd="/", stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: waits(process.pid) or process.poll() is not None)
        yield process
    finally:
        process.kill()
        process.wait(20)


def waits(pid: int) -> bool:
    return "request_wait_answer" in Path(f"/proc/{pid}/wchan").read_text()


def wait_for_end(pid: int) -> None:
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def server_of(settings: Settings) -> CoverServer:
    with Holdfast(settings) as holdfast:
        restoration = holdfast.restorations.in_progress("data")
        assert restoration is not None
        cover = read_record(restoration).cover
        assert cover is not None
        return cover


def assert_nothing_left(point: Path, cover: CoverServer) -> None:
    """No cover is mounted anywhere, nobody serves one, and nothing lies in the directory below."""
    sources = {each.source for each in all_mount_points() if each.filesystem == FILE_SYSTEM}
    assert cover.name not in sources
    for pid in (cover.pid, cover.twin_pid):
        wait_for_end(pid)
    subprocess.run(["umount", str(point)], check=True)
    assert list(point.iterdir()) == []


@pytest.mark.parametrize("place", KILLED_AT)
def test_the_command_is_killed(settings: Settings, ram_directory: Path, place: str) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:

            def die(here: str) -> None:
                if here == place:
                    os._exit(9)

            url = f"file:{ram_directory / '2.img'}"
            assert in_fork(lambda: migrate(settings, url, die)).code == 9
            cover = server_of(settings)
            with newcomer(path / "upload") as process:
                assert process.poll() is None, "it did not wait"
                with Holdfast(settings) as holdfast:
                    assert len(holdfast.recover()) == 1
                assert process.wait(30) == 0, process.communicate()[1]
            assert (path / "upload").read_text() == "from a newcomer"
            running.wait_for_more()
            running.verify()
        assert_nothing_left(path, cover)


def killed_after_dismount(settings: Settings, url: str) -> float:
    """Kill a migration there; how long its users wait, in seconds: as short as this host can have
    it. A deadline that is too short for how busy it is just now is refused, as it has to be."""

    def die(here: str) -> None:
        if here == "after dismount":
            os._exit(9)

    for seconds in (15, 30, 60):
        ended = in_fork(lambda: migrate(settings, url, die, seconds))  # noqa: B023 - called at once
        if ended.code == 9:
            break
        assert "predicted, the budget is" in ended.told or "DeadlinePassed" in ended.told, ended
    assert ended.code == 9, ended
    return seconds


def test_the_command_is_killed_and_nobody_recovers(settings: Settings, ram_directory: Path) -> None:
    """At the deadline who waits gets an error; what is seen then is an error, too."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))

        seconds = killed_after_dismount(settings, f"file:{ram_directory / '2.img'}")
        cover = server_of(settings)
        with newcomer(path / "upload") as process:
            assert "Input/output error" in process.communicate(timeout=seconds + 25)[1]
        with newcomer(path / "upload") as process:
            assert "Input/output error" in process.communicate(timeout=25)[1]
        with Holdfast(settings) as holdfast:
            holdfast.recover()
        with newcomer(path / "upload") as process:
            assert process.wait(30) == 0
        assert (path / "upload").read_text() == "from a newcomer"
        assert_nothing_left(path, cover)


@pytest.mark.parametrize("how_many", [1, 2])
def test_the_servers_are_killed(settings: Settings, ram_directory: Path, how_many: int) -> None:
    """One of them: nobody notices. Both: an error for who waits; the move goes on."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        seen = []

        def kill(here: str) -> None:
            if here == "after dismount":
                cover = server_of(settings)
                with newcomer(path / "upload") as process:
                    for pid in (cover.pid, cover.twin_pid)[:how_many]:
                        os.kill(pid, signal.SIGKILL)
                        wait_for_end(pid)
                    if how_many == 2:
                        assert "connection abort" in process.communicate(timeout=30)[1]
                        seen.append(cover)
                        return
                    assert waits(process.pid)
                seen.append(cover)

        migrate(settings, f"file:{ram_directory / '2.img'}", kill)
        (cover,) = seen
        with newcomer(path / "later") as process:
            assert process.wait(30) == 0
        assert (path / "later").read_text() == "from a newcomer"
        assert_nothing_left(path, cover)


@pytest.mark.parametrize("fails", [False, True])
def test_a_service_starts_in_a_mount_namespace_of_its_own(
    settings: Settings, ram_directory: Path, fails: bool
) -> None:
    """It has the new storage; the old one, when the move is undone. No image is mounted twice."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        started: list[subprocess.Popen[str]] = []

        def start(here: str) -> None:
            if here == "after dismount":
                process = subprocess.Popen(
                    ["unshare", "--mount", sys.executable, "-c", SERVE],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", text=True,
                )  # fmt: skip
                started.append(process)
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                if fails:
                    raise StorageFailed("as a step does")

        try:
            with pytest.raises(StorageFailed, match="as a step") if fails else nullcontext():
                migrate(settings, f"file:{ram_directory / '2.img'}", start)
            ours = [each for each in all_mount_points() if each.path == str(path)]
            assert len({each.namespace for each in ours}) > 1
            assert len({(each.device, each.source) for each in ours}) == 1
            (process,) = started
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{path}/upload\n")
            process.stdin.flush()
            assert process.stdout.readline() == "written\n"
        finally:
            for process in started:
                process.communicate(timeout=20)
        assert (path / "upload").read_text() == "from a service"
        subprocess.run(["umount", str(path)], check=True)
        assert list(path.iterdir()) == []
