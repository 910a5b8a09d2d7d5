"""What keeps a plain mount from getting a gate is found before anything is touched, and told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Settings
from holdfast.errors import (
    AlreadyExists,
    Blocked,
    ForeignLeg,
    HasGate,
    HasNoGate,
    HoldfastError,
    HoldsData,
    InUse,
    InvalidOption,
    OwnLeg,
    TooSmall,
    VolumeHeld,
)
from holdfast.model.finding import Finding, Verdict
from holdfast.model.volume import VolumeState
from holdfast.service import GateRequest, Holdfast, MigrateRequest, UngateRequest
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.restoration.bench import make_image, mounted
from tests.waiting import wait_until


@pytest.fixture
def adopted(settings: Settings, ram_directory: Path) -> Iterator[tuple[Holdfast, Path]]:
    image = make_image(ram_directory / "plain.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        yield holdfast, path


def refused(
    holdfast: Holdfast, request: GateRequest | UngateRequest, error: type[HoldfastError]
) -> str:
    """Why it is refused; as the volume and its mount are, so they stay."""
    before = holdfast.show_volume("data"), holdfast.catalog.volume("data")
    with pytest.raises(error) as told:
        holdfast.restorations.change_kind(request)
    assert (holdfast.show_volume("data"), holdfast.catalog.volume("data")) == before
    assert holdfast.restorations.in_progress("data") is None
    assert holdfast.receipts("data") == []
    assert told.value.mend
    return str(told.value)


def findings(
    holdfast: Holdfast, request: GateRequest | MigrateRequest | UngateRequest
) -> dict[str, Finding]:
    found = holdfast.restorations.assess(request)
    return {finding.subject: finding for finding in found.plan.findings}


def test_legs_that_will_not_do(adopted: tuple[Holdfast, Path], ram_directory: Path) -> None:
    holdfast, path = adopted
    good = f"file:{ram_directory}/good.img"
    full = make_image(ram_directory / "full.img", size_bytes=64 << 20)
    small = ram_directory / "small.img"
    with small.open("wb") as file:
        file.truncate(17 << 20)
    (path / "big").write_bytes(b"x" * (30 << 20))
    for second, error in (
        (f"file:{path}/inside.img", OwnLeg),
        (f"file:{full}", HoldsData),
        (f"file:{ram_directory}/plain.img", InUse),
        (f"file:{small}", TooSmall),
        (good, InvalidOption),
    ):
        refused(holdfast, GateRequest("data", (good, second)), error)
        assert not (ram_directory / "good.img").exists()


def test_the_present_storage_is_named_by_what_has_it(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    """By its image or its device: it is mounted there, and no gate or losetup has to do with it."""
    holdfast, path = adopted
    device = holdfast.show_volume("data").device
    for url in (f"file:{ram_directory}/plain.img", f"block:{device}"):
        told = refused(holdfast, GateRequest("data", (url,)), InUse)
        assert f"mounted at {path}" in told
        with pytest.raises(InUse) as error:
            holdfast.restorations.change_kind(GateRequest("data", (url,)))
        assert f"umount {path}" in error.value.mend


def test_a_spare_that_could_not_take_a_legs_place(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    holdfast, _ = adopted
    spare = ram_directory / "spare.img"
    with spare.open("wb") as file:
        file.truncate(64 << 20)  # as large as the volume: a leg needs more
    request = GateRequest("data", (f"file:{ram_directory}/1.img",), (f"file:{spare}",))
    assert "the spare" in refused(holdfast, request, TooSmall)
    assert not (ram_directory / "1.img").exists()


def test_less_room_is_told(adopted: tuple[Holdfast, Path], ram_directory: Path) -> None:
    holdfast, _ = adopted
    small = ram_directory / "small.img"
    with small.open("wb") as file:
        file.truncate(40 << 20)
    told = findings(holdfast, GateRequest("data", (f"file:{small}",)))["size"]
    assert (told.verdict, bool(told.mend)) == (Verdict.LIMITED, True)
    assert told.found == "64.0 MiB now, 40.0 MiB afterwards"
    assert "size" not in findings(holdfast, GateRequest("data", (f"file:{ram_directory}/1.img",)))


def test_a_volume_that_is_of_that_kind_already(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    holdfast, _ = adopted
    assert "no gate" in refused(holdfast, UngateRequest("data"), HasNoGate)
    request = GateRequest("data", (f"file:{ram_directory}/1.img",))
    holdfast.restorations.change_kind(request)
    try:
        with pytest.raises(HasGate, match="already"):
            holdfast.restorations.change_kind(request)
    finally:
        holdfast.delete_volume("data")


def test_what_another_volume_of_that_name_has_left(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    holdfast, _ = adopted
    place = holdfast.settings.gate_state_directory("data")
    place.mkdir(parents=True)
    (place / "gate.json").write_text("of another one")
    request = GateRequest("data", (f"file:{ram_directory}/1.img",))
    assert str(place) in refused(holdfast, request, AlreadyExists)
    assert (place / "gate.json").read_text() == "of another one"


def test_a_mount_of_only_a_directory(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "plain.img", size_bytes=64 << 20)
    inner = ram_directory / "inner"
    inner.mkdir()
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        (path / "part").mkdir()
        subprocess.run(["mount", "--bind", path / "part", inner], check=True)
        try:
            holdfast.adopt_volume("data", str(inner))
            request = GateRequest("data", (f"file:{ram_directory}/1.img",))
            assert "mounted in part" in refused(holdfast, request, Blocked)
        finally:
            subprocess.run(["umount", inner], check=True)


def test_without_a_leg() -> None:
    with pytest.raises(InvalidOption, match="no leg"):
        GateRequest("data", ())


def test_further_mounts_go_along_and_fstab_is_told(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    holdfast, path = adopted
    volume = holdfast.catalog.volume("data")
    line = f"/dev/sdz {path} ext4 defaults 0 2"
    holdfast.catalog.update(replace(volume, mount=replace(volume.mount, fstab=line)))
    (path / "part").mkdir()
    bound = ram_directory / "bound"
    bound.mkdir()
    subprocess.run(["mount", "--bind", path / "part", bound], check=True)
    try:
        request = GateRequest("data", (f"file:{ram_directory}/1.img",))
        told = findings(holdfast, request)
        for subject, part in (("further mounts", str(bound)), ("fstab", line)):
            assert told[subject].verdict is Verdict.LIMITED
            assert part in told[subject].found
        holdfast.restorations.change_kind(request)
        (path / "part" / "new").touch()
        assert (bound / "new").exists()
    finally:
        subprocess.run(["umount", bound], check=True)
        holdfast.delete_volume("data")


def test_the_plan_says_what_is_safe_before_and_after(
    adopted: tuple[Holdfast, Path], ram_directory: Path, run_holdfast: Callable[..., Any]
) -> None:
    holdfast, path = adopted
    urls = tuple(f"file:{ram_directory}/{number}.img" for number in (1, 2))
    told = findings(holdfast, GateRequest("data", urls))
    assert told["redundancy"].verdict is Verdict.OK
    assert told["redundancy"].found == "1 plain container without a gate now, 2 legs afterwards"
    assert "plain.img stays" in told["old storage"].found
    assert "never deleted by Holdfast" in told["old storage"].meaning
    assert "pause" in told
    alone = findings(holdfast, GateRequest("data", urls[:1]))["redundancy"]
    assert (alone.verdict, bool(alone.mend)) == (Verdict.LIMITED, True)
    words = ("volume", "gate", "data", "--leg", urls[0], "--leg", urls[1])
    home = {"HOLDFAST_HOME": str(holdfast.settings.home)}
    plan = run_holdfast(*words, "--dry-run", json=True, **home)
    assert plan["possible"] is True
    assert "above a gate" in plan["plan"]["reason"]
    assert not (ram_directory / "1.img").exists()
    assert run_holdfast(*words, "--yes", json=True, **home)["details"]["kind"] == "adopted to gated"
    assert holdfast.show_volume("data").state is VolumeState.HEALTHY
    told = findings(holdfast, UngateRequest("data"))
    assert told["redundancy"].verdict is Verdict.LIMITED
    assert told["redundancy"].found == "2 legs now, 1 plain container without a gate afterwards"
    receipt = run_holdfast("volume", "ungate", "data", "--yes", json=True, **home)
    assert receipt["details"]["kind"] == "gated to adopted"
    assert mount_at(path) is not None
    assert holdfast.show_volume("data").kind == "adopted"


@pytest.fixture
def gated(adopted: tuple[Holdfast, Path], ram_directory: Path) -> Iterator[tuple[Holdfast, Path]]:
    """With two legs and a spare."""
    holdfast, path = adopted
    urls = tuple(f"file:{ram_directory}/{name}.img" for name in ("one", "two"))
    request = GateRequest("data", urls, (f"file:{ram_directory}/spare.img",))
    holdfast.restorations.change_kind(request)
    yield holdfast, path
    holdfast.delete_volume("data")


def test_a_refusal_is_told_of_the_leg_that_it_is_about(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    holdfast, _ = adopted
    good, full = f"file:{ram_directory}/good.img", ram_directory / "full.img"
    make_image(full, size_bytes=64 << 20)
    small = ram_directory / "small.img"
    with small.open("wb") as file:
        file.truncate(1 << 20)
    for legs, spares, subject in (
        ((good, f"file:{full}"), (), f"file:{full}"),
        ((good, f"file:{small}"), (), f"file:{small}"),
        ((good,), (f"file:{full}",), f"file:{full}"),
        ((good,), (f"file:{small}",), f"file:{small}"),
        ((f"file:{full}", good), (), f"file:{full}"),
    ):
        found = findings(holdfast, GateRequest("data", legs, spares))
        blocking = [each for each in found if found[each].verdict is Verdict.BLOCKS]
        assert blocking == [subject]


def test_a_volume_that_is_held_on_purpose(gated: tuple[Holdfast, Path]) -> None:
    holdfast, _ = gated
    holdfast.hold("data", 60.0, "the disks are moved")
    try:
        with pytest.raises(VolumeHeld) as told:
            holdfast.restorations.change_kind(UngateRequest("data"))
        with pytest.raises(VolumeHeld) as of_detach:
            holdfast.detach_volume("data")
    finally:
        holdfast.release("data")
    for error in (told.value, of_detach.value):
        assert "the disks are moved" in error.message
        assert "on purpose" in error.message
        assert "dirty data" not in error.message
        assert error.mend.startswith("holdfast volume release data")
        assert "leg" not in error.mend


def test_a_leg_that_is_not_in_sync_is_not_counted(gated: tuple[Holdfast, Path]) -> None:
    holdfast, _ = gated
    holdfast.legs.remove("data", holdfast.show_volume("data").legs[-1].url)  # the spare
    second = Path(holdfast.show_volume("data").legs[1].url.removeprefix("file:"))
    os.truncate(second, 0)
    mount = Path(holdfast.show_volume("data").mount)
    (mount / "written").write_bytes(b"x" * 4096)
    subprocess.run(["sync", "--file-system", mount], check=True)
    wait_until(lambda: holdfast.show_volume("data").state is VolumeState.DEGRADED)
    found = findings(holdfast, UngateRequest("data"))["redundancy"].found
    assert found.startswith("2 legs, 1 of them in sync, now, ")


def test_the_image_that_a_plan_names_is_the_one_that_is_made(gated: tuple[Holdfast, Path]) -> None:
    holdfast, _ = gated
    named = {holdfast.restorations.assess(UngateRequest("data")).facts.request.url for _ in "ab"}
    receipt = holdfast.restorations.change_kind(UngateRequest("data"))
    assert named == {receipt.details["to"]}


def test_the_mend_for_a_leg_of_before_works(gated: tuple[Holdfast, Path]) -> None:
    holdfast, _ = gated
    legs = tuple(each.url for each in holdfast.show_volume("data").legs[:2])
    holdfast.restorations.change_kind(UngateRequest("data"))
    with pytest.raises(ForeignLeg) as told:
        holdfast.restorations.change_kind(GateRequest("data", legs))
    assert "leg remove" in told.value.mend
    for url in legs:
        with pytest.raises(ForeignLeg) as told:
            holdfast.restorations.change_kind(GateRequest("data", (url,)))
        subprocess.run(told.value.mend.rpartition(": ")[2].rstrip("."), shell=True, check=True)
    holdfast.restorations.change_kind(GateRequest("data", legs))


def test_a_spare_that_is_kept_is_measured(
    gated: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    """It keeps nobody from moving: that it could not take a leg's place then is told."""
    holdfast, _ = gated
    spare = next(each.url for each in holdfast.show_volume("data").legs if each.number == 0)
    larger = ram_directory / "larger.img"
    with larger.open("wb") as file:
        file.truncate(1 << 30)
    request = MigrateRequest("data", (f"file:{larger}",), filesystem="xfs")
    found = findings(holdfast, request)
    assert spare not in found
    with Path(spare.removeprefix("file:")).open("wb") as file:
        file.truncate(1 << 20)
    told = findings(holdfast, request)[spare]
    assert told.verdict is Verdict.LIMITED
    assert "1048576 bytes" in told.found
