"""Claim: a process whose storage was exchanged cannot tell, but by the time and inode numbers."""

from __future__ import annotations

from holdfast.service import Holdfast, MigrateRequest
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.storage.loop import loop_devices_of
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.traces import Traces
from tests.kernel.restoration.bench import mounted

KINDS = (
    *("file", "append", "dup", "fork", "directory", "path", "cwd", "shared_map", "private_map"),
    *("program", "flock", "posix", "ofd", "inotify", "fifo", "threads"),
)


def test_nothing_is_different(adopted: Holdfast, bench: Bench, hold: Hold) -> None:
    """It verifies offsets, locks against a third process, maps and watches by itself."""
    first = bench.folder / "1-ext4.img"
    program = hold(*KINDS)
    before = Traces.of(program.pid)
    receipt = adopted.restorations.migrate(
        MigrateRequest("data", (f"file:{bench.folder}/new.img",), filesystem="xfs")
    )
    assert Traces.of(program.pid) == before
    program.verify()
    mount = mount_at(bench.path)
    assert mount is not None
    assert mount.filesystem == "xfs"
    assert loop_devices_of(first) == [], "the old file system was not really dismounted"
    assert receipt is not None
    told = {each["pid"]: each for each in receipt.processes}
    kinds = told[program.pid]["handles"]
    assert {outcome for counts in kinds.values() for outcome in counts} == {"identical"}


def test_the_old_storage_has_all_up_to_the_move(adopted: Holdfast, bench: Bench) -> None:
    (bench.path / "kept").write_text("kept")
    adopted.restorations.migrate(
        MigrateRequest("data", (f"file:{bench.folder}/new.img",), filesystem="xfs")
    )
    (bench.path / "kept").write_text("changed")
    with mounted(bench.folder / "1-ext4.img", bench.folder / "old", "ro") as old:
        assert (old / "kept").read_text() == "kept"
