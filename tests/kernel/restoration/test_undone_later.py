"""What could not be undone at once is undone later, and nobody has lost his files by then."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InUse
from holdfast.model.plan import Strategy
from holdfast.model.recovery import Left
from holdfast.restoration.performing.perform import perform
from holdfast.service import AssessRequest, Holdfast
from tests.kernel.restoration.bench import application, make_image, mounted
from tests.waiting import wait_until


@pytest.mark.parametrize("late", [False, True])
def test_its_storage_was_away(settings: Settings, ram_directory: Path, late: bool) -> None:
    """Its users wait meanwhile; those who run on at the deadline get their handles back."""
    image, aside = make_image(ram_directory / "1.img", size_bytes=64 << 20), ram_directory / "aside"
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record", simple=late) as running:
            request = AssessRequest(
                "data",
                Strategy.MIGRATE,
                (f"file:{ram_directory}/2.img",),
                filesystem="ext4",
                deadline_seconds=15 if late else 60,
                forced=True,  # a busy host predicts a longer pause than so short a deadline allows
            )
            assessment = holdfast.restorations.assess(request)

            def checkpoint(place: str) -> None:
                if place == "before restore":
                    image.rename(aside)
                    raise InUse("a fault of this test")

            with pytest.raises(InUse, match="could not be undone entirely"):
                perform(settings, holdfast.catalog, assessment, checkpoint=checkpoint)
            assert isinstance(holdfast.recover()[0], Left)
            if late:
                wait_until(lambda: running.progress()[1] > 0)
            aside.rename(image)
            (done,) = holdfast.recover()
            assert done.endswith("was undone")
            running.wait_for_more()
            assert running.process.poll() is None
            if not late:
                assert running.verify() > 0
        assert holdfast.recover() == []
