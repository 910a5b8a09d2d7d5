"""The worker is killed again and again while fio writes checksummed blocks and reads them back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.volume import JournalMode
from holdfast.volumes.detach import detach_volume
from tests.kernel.volume.stack import volume, wish
from tests.resume.killing import Killer, assert_nobody_noticed, pauses
from tests.resume.verifying import check_filesystem, verified_writes
from tests.soak import rounds

Note = Callable[[str], None]
ONE_LEG = ("ext4", 1, JournalMode.NONE)
TWO_LEGS = ("ext4", 2, JournalMode.UNFLUSHED)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("filesystem", "legs", "journal"), [ONE_LEG, TWO_LEGS])
def test_fio_reads_back_what_it_wrote(
    holdfast_home: Path,
    ram_directory: Path,
    record_figure: Note,
    filesystem: str,
    legs: int,
    journal: JournalMode,
) -> None:
    settings = Settings()
    urls = [f"file:{ram_directory}/{number}.img" for number in range(legs)]
    wanted = wish(
        ram_directory, *urls, filesystem=filesystem, journal=journal, size_bytes=256 << 20
    )
    with volume(settings, wanted) as made:
        run_directory = settings.gate_run_directory(made.name)
        killer = Killer(run_directory, rounds(25, 300), seed=legs)
        killer.start()
        passes = verified_writes(Path(made.mount.path), until=lambda: not killer.is_alive())
        killer.finish()
        after = assert_nobody_noticed(run_directory)
        assert after.takeovers >= killer.killed
        record_figure(
            f"{legs} leg(s), journal {journal}: {killer.killed} kills, {after.takeovers} takeovers,"
            f" {after.resent} requests sent again, {len(passes)} passes of fio of at most"
            f" {max(passes):.1f} s;"
            f" {pauses(settings.gate_state_directory(made.name))}"
        )
        detach_volume(settings, made)
        for url in urls:
            check_filesystem(Path(url.removeprefix("file:")), filesystem)
