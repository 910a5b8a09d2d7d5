"""Nobody types: every disruption is told, with what mends it, and what is well is not."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.config import Settings
from holdfast.service import Holdfast
from tests.conftest import RunHoldfast
from tests.kernel.daemon.pager import daemon, pager_in, told
from tests.kernel.mountpoints.bench import MountBench, run
from tests.waiting import wait_until


def fill(path: Path) -> None:
    with (path / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def read_from_storage(path: Path) -> None:
    """As an application that finds nothing in memory. What it is told does not matter here."""
    with path.open("rb", buffering=0) as file, suppress(OSError):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.read()


def test_each_disruption_is_told(run_holdfast: RunHoldfast, ram_directory: Path) -> None:
    log = ram_directory / "log"
    with MountBench(ram_directory) as bench:
        paths = {}
        for name in ("well", "torn", "gone", "refusing", "full", "hidden/below"):
            device = bench.device(name.partition("/")[0])
            paths[name.partition("/")[0]] = bench.mount(device, f"mnt/{name}")
        fill(paths["full"])
        (paths["torn"] / "file").write_bytes(os.urandom(1 << 16))
        with Holdfast(Settings()) as holdfast:
            for name, path in paths.items():
                holdfast.adopt_volume(name, str(path))
            holdfast.alerts.add(f"command:{pager_in(ram_directory, log)}")
        before = {path: path.stat() for path in paths.values()}
        with daemon("1s"):

            def words() -> dict[str, str]:
                assert {each["kind"] for each in told(log)} <= {"raised"}
                return {each["volume"]: each["words"] for each in told(log)}

            wait_until(lambda: "full" in words())
            assert paths["well"].stat() == before[paths["well"]]
            sync(paths["torn"] / "file")
            os.truncate(ram_directory / "torn.img", 0)
            read_from_storage(paths["torn"] / "file")
            run("umount", paths["gone"])
            run("mount", "-o", "remount,ro", paths["refusing"])
            bench.mount("tmpfs", "mnt/hidden", "-t", "tmpfs")
            wait_until(lambda: len(words()) == 5, "not everything was told")
            found = words()
            assert "0 B (0.0 %) free" in found["full"]
            assert "the kernel reports of loop" in found["torn"]
            assert "nothing is mounted" in found["gone"]
            assert "mounted read-only" in found["refusing"]
            assert "tmpfs (tmpfs), mounted at" in found["hidden"]
            assert all(each["mend"] for each in told(log))

            shown: list[dict[str, Any]] = run_holdfast("status", "-x", json=True)
            assert {each["name"] for each in shown} == {*found}
            run("umount", ram_directory / "mnt/hidden")
        # What a daemon saw that does not watch any more is shown to nobody.
        assert run_holdfast("status", "--check", "full").returncode == 0
