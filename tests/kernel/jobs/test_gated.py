"""The life of a gated volume, each part of it a job."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from holdfast import (
    AddLegRequest,
    AttachRequest,
    DeleteRequest,
    DetachRequest,
    Holdfast,
    Job,
    NewVolume,
    Progressed,
    RecoverRequest,
    ReplaceLegRequest,
    ResizeRequest,
    Said,
    Settings,
    VolumeState,
)
from holdfast.service import OperationRequest

Result = TypeVar("Result")


def test_its_whole_life(settings: Settings, ram_directory: Path) -> None:
    urls = [f"file:{ram_directory}/{number}.img" for number in range(3)]
    mount = ram_directory / "mnt"
    with Job(NewVolume("bank", 64 << 20, str(mount), leg_urls=(urls[0],)), settings) as job:
        said = [each.words for each in job if isinstance(each, Said)]
        assert said[0] == "check" and said[-1] == "mount"
        made = job.result()
    try:
        assert made.state is VolumeState.HEALTHY and mount.is_mount()
        (mount / "file").write_bytes(b"content" * 100_000)
        with Holdfast(settings) as holdfast:
            shown = holdfast.show_volume("bank").legs
            assert [each.url for each in shown] == [each.url for each in made.legs]
        with Job(AddLegRequest("bank", urls[1]), settings) as job:
            assert max(each.percent for each in job if isinstance(each, Progressed)) == 100.0
            assert [leg.url for leg in job.result().legs] == urls[:2]
        report = done(ReplaceLegRequest("bank", "1", urls[2]), settings)
        assert {leg.url for leg in report.legs} == set(urls[1:])
        assert done(ResizeRequest("bank", 128 << 20), settings).size_bytes == 128 << 20
        assert done(DetachRequest("bank"), settings).state is VolumeState.DETACHED
        assert not mount.is_mount()
        assert done(AttachRequest("bank"), settings).state is VolumeState.HEALTHY
        assert (mount / "file").read_bytes() == b"content" * 100_000
        assert done(RecoverRequest(), settings).actions == ()
    finally:
        assert done(DeleteRequest("bank"), settings) == ()


def done(request: OperationRequest[Result], settings: Settings) -> Result:
    """The result of a job."""
    with Job(request, settings) as job:
        return job.result()
