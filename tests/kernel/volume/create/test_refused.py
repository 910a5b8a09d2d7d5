"""Everything that must not become a volume is refused by its code, and nothing is changed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import HoldfastError, OwnLeg
from holdfast.gate.members.configuration import load_configuration
from holdfast.gate.outside.client import GateClient
from holdfast.model.volume import Volume
from holdfast.volumes.checks.foundation import check_not_own_leg
from holdfast.volumes.create import create_volume
from holdfast.volumes.stack.examine import examine_stack
from tests.faults import LoopLeg, SmallDisk
from tests.kernel.volume.stack import SIZE, volume, wish
from tests.waiting import wait_until


@pytest.fixture
def settings(holdfast_home: Path) -> Settings:
    return Settings()


def tree(*folders: Path) -> dict[str, tuple[int, int]]:
    """Every path below the folders with its size and time of change."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_ctime_ns)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    }


def refused(settings: Settings, wanted: Volume, code: str, *others: Volume) -> str:
    """Create must fail with this code, leaving every file as it is. Returns the message."""
    folder = Path(wanted.mount.path).parent
    before = tree(folder)
    with pytest.raises(HoldfastError) as raised:
        create_volume(settings, wanted, others)
    assert raised.value.code == code, raised.value
    assert raised.value.mend
    assert examine_stack(settings, wanted.name).is_empty
    assert not settings.gate_state_directory(wanted.name).exists()
    assert tree(folder) == before
    return raised.value.message


@contextmanager
def quiet(settings: Settings, volume: Volume) -> Iterator[None]:
    """Nothing writes of its own accord meanwhile, as new file systems do, and their gates after."""
    path = volume.mount.path
    gate = GateClient(settings.gate_run_directory(volume.name))
    state_directory = settings.gate_state_directory(volume.name)
    subprocess.run(["fsfreeze", "--freeze", path], check=True)
    try:
        wait_until(
            lambda: (
                load_configuration(state_directory).recorded_position
                == gate.show()["journal"]["position"]
            )
        )
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", path], check=True)


def with_mount(wanted: Volume, path: Path) -> Volume:
    return replace(wanted, mount=replace(wanted.mount, path=str(path)))


@pytest.mark.parametrize("name", ["a/b", "", ".", "..", "-x", "a b", "x" * 41])
def test_a_name_that_is_no_name(settings: Settings, ram_directory: Path, name: str) -> None:
    with pytest.raises(HoldfastError) as raised:
        create_volume(settings, replace(wish(ram_directory), name=name))
    assert raised.value.code == "NAME"


@pytest.mark.parametrize(
    ("filesystem", "size_bytes"),
    [("ext4", 0), ("ext4", 1 << 60), ("ext4", SIZE + 1), ("xfs", SIZE), ("btrfs", SIZE)],
)
def test_a_size_that_is_no_size(
    settings: Settings, ram_directory: Path, filesystem: str, size_bytes: int
) -> None:
    wanted = wish(ram_directory, filesystem=filesystem, size_bytes=size_bytes)
    refused(settings, wanted, "SIZE")


def test_an_unknown_file_system(settings: Settings, ram_directory: Path) -> None:
    refused(settings, wish(ram_directory, filesystem="ntfs"), "OPTION")


def test_a_mount_directory_with_files(settings: Settings, ram_directory: Path) -> None:
    wanted = wish(ram_directory)
    Path(wanted.mount.path).mkdir()
    (Path(wanted.mount.path) / "precious").write_text("file")
    assert "not empty" in refused(settings, wanted, "DATA")


def test_a_mount_path_that_is_a_file(settings: Settings, ram_directory: Path) -> None:
    path = ram_directory / "file"
    path.write_text("x")
    refused(settings, with_mount(wish(ram_directory), path), "OPTION")
    refused(settings, with_mount(wish(ram_directory), path / "below"), "OPTION")


def test_a_mount_path_that_is_taken(settings: Settings, ram_directory: Path) -> None:
    with SmallDisk(ram_directory / "disk", 1 << 20) as disk:
        refused(settings, with_mount(wish(ram_directory), disk.path), "EXISTS")


def test_a_mount_path_on_another_volume(settings: Settings, ram_directory: Path) -> None:
    other = wish(ram_directory, name="other")
    inside = with_mount(wish(ram_directory), Path(other.mount.path) / "inside")
    assert "other" in refused(settings, inside, "OPTION", other)
    refused(settings, with_mount(wish(ram_directory), Path(other.mount.path)), "EXISTS", other)


def test_a_missing_folder(settings: Settings, ram_directory: Path) -> None:
    refused(settings, wish(ram_directory, f"file:{ram_directory}/absent/a.img"), "NOCONTAINER")


def test_an_image_with_data(settings: Settings, ram_directory: Path) -> None:
    image = ram_directory / "a.img"
    image.write_bytes(b"precious" + bytes(SIZE * 2))
    refused(settings, wish(ram_directory, f"file:{image}"), "DATA")


def test_a_leg_that_is_too_small(settings: Settings, ram_directory: Path) -> None:
    with LoopLeg(ram_directory / "disk.img", SIZE) as leg:
        refused(settings, wish(ram_directory, leg.url), "SMALL")


def test_storage_without_room(settings: Settings, ram_directory: Path) -> None:
    with SmallDisk(ram_directory / "disk", 256 << 10) as disk:
        refused(settings, wish(ram_directory, f"file:{disk.path}/a.img"), "SMALL")


def test_the_same_container_twice(settings: Settings, ram_directory: Path) -> None:
    (ram_directory / "link").symlink_to(".")
    urls = (f"file:{ram_directory}/a.img", f"file:{ram_directory}/link/a.img")
    refused(settings, wish(ram_directory, *urls), "OPTION")
    with (ram_directory / "a.img").open("wb") as file:
        file.truncate(SIZE * 2)
    os.link(ram_directory / "a.img", ram_directory / "b.img")
    urls = (f"file:{ram_directory}/a.img", f"file:{ram_directory}/b.img")
    refused(settings, wish(ram_directory, *urls), "TRUST")


def test_a_leg_of_another_volume(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory, name="other")) as other, quiet(settings, other):
        refused(settings, wish(ram_directory, other.leg_urls[0]), "FOREIGN", other)
        refused(settings, wish(ram_directory, other.leg_urls[0]), "BUSY")


def test_a_leg_under_its_own_mount_path(settings: Settings, ram_directory: Path) -> None:
    wanted = wish(ram_directory)
    Path(wanted.mount.path).mkdir()
    own = replace(wanted, leg_urls=(f"file:{wanted.mount.path}/a.img",))
    refused(settings, own, "SELF")


def test_a_state_directory_on_a_volume(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory, name="other")) as other, quiet(settings, other):
        inside = Settings(home=Path(other.mount.path) / "home")
        assert "other" in refused(inside, wish(ram_directory), "SELF")


def test_a_leg_may_stand_on_another_volume(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory, name="lower", size_bytes=2 * SIZE)) as lower:
        upper = wish(ram_directory, f"file:{lower.mount.path}/a.img", name="upper")
        with volume(settings, upper):
            (Path(upper.mount.path) / "file").write_text("content")
            with pytest.raises(OwnLeg, match="stands on upper → lower"):
                check_not_own_leg(
                    settings, "lower", lower.mount.path, f"file:{upper.mount.path}/b.img"
                )
