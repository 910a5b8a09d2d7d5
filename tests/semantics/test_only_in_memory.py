"""Claim: what was accepted and is in memory yet outlives the storage of an adopted mount."""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from holdfast.service import Holdfast, RestoreRequest
from tests.faults.fuse_tree import FuseTree
from tests.kernel.restoration.bench import make_image
from tests.kernel.restoration.saved_writes_bench import FILES, outcomes, stage


def test_its_image_was_on_a_server_that_died(settings: Settings, ram_directory: Path) -> None:
    served, seen = ram_directory / "served", ram_directory / "seen"
    served.mkdir()
    seen.mkdir()
    make_image(served / "1.img", size_bytes=32 << 20)
    with (
        FuseTree(served, seen) as tree,
        stage(settings, ram_directory, image=seen / "1.img") as data,
        Holdfast(settings) as holdfast,
    ):
        tree.kill()
        data.make_it_notice()
        receipt = holdfast.restorations.restore(
            RestoreRequest("data", str(data.backup), f"file:{ram_directory}/2.img", "ext4")
        )
        assert outcomes(receipt) == dict.fromkeys(FILES, "put back")
        data.verify_at_work()


def test_a_rollback_of_storage_that_is_well_gets_none_of_it(
    settings: Settings, ram_directory: Path
) -> None:
    with stage(settings, ram_directory) as data, Holdfast(settings) as holdfast:
        holdfast.restorations.restore(
            RestoreRequest("data", str(data.backup), f"file:{ram_directory}/2.img", "ext4")
        )
        data.verify(300)
