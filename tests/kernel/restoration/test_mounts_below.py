"""What is mounted below a volume is parked while that is away: its users notice nothing."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked, InUse
from holdfast.model.receipt import Receipt
from holdfast.service import Holdfast, MigrateRequest, RestoreRequest
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.restoration.below import mount_of, mounted_below, nothing_left, table, using
from tests.kernel.restoration.bench import make_image, mounted
from tests.kernel.restoration.test_by_path import make_room


@pytest.fixture
def volume(
    settings: Settings, ram_directory: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Holdfast, Path]]:
    """An adopted volume on a mount that propagates what is mounted there, or does not."""
    subprocess.run(["mount", "--bind", str(ram_directory), str(ram_directory)], check=True)
    how = getattr(request, "param", "shared")
    subprocess.run(["mount", f"--make-{how}", str(ram_directory)], check=True)
    try:
        image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
        with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
            yield holdfast, path
    finally:
        subprocess.run(["umount", str(ram_directory)], check=True)


def move(holdfast: Holdfast, folder: Path, number: int, filesystem: str) -> None:
    url = f"file:{make_room(folder / f'{number}.img')}"
    holdfast.restorations.migrate(MigrateRequest("data", (url,), filesystem=filesystem))


def said_of_it(receipt: Receipt) -> list[str]:
    found = receipt.details["findings"]
    return [each["found"] for each in found if each["subject"] == "nested mount"]


@pytest.mark.parametrize(
    ("volume", "types"), [("shared", ("xfs", "ext4")), ("private", ("btrfs",))], indirect=["volume"]
)
def test_its_users_go_on(
    volume: tuple[Holdfast, Path],
    ram_directory: Path,
    settings: Settings,
    types: tuple[str, ...],
) -> None:
    holdfast, path = volume
    with mounted_below(path / "sub/inner") as inner, mounted_below(inner / "deep", "deep"):
        before = mount_of("inner"), mount_of("deep")
        tags = {each.source: each.tags for each in table()}
        with using(inner, ram_directory / "record"):
            for number, filesystem in enumerate(types, 2):
                move(holdfast, ram_directory, number, filesystem)
                assert (mount_of("inner"), mount_of("deep")) == before, "the very mounts"
                assert nothing_left(settings.run_directory)
        now = mount_at(path)
        assert now is not None and now.filesystem == types[-1]
        assert {each.source: each.tags for each in table() if each.source in ("inner", "deep")} == {
            name: tags[name] for name in ("inner", "deep")
        }
        for receipt in holdfast.receipts("data"):
            assert len(said_of_it(receipt)) == 1, "beforehand, that it is parked"
    assert (path / "sub/inner/hidden").exists(), "what it hides was copied"


def relations(*pids: int) -> list[tuple[str, ...]]:
    """Where the volume and what lies below it is mounted, with what propagates to whom: peer groups
    in the order of their appearance."""
    names: dict[str, str] = {}
    found = []
    for place, pid in enumerate(("self", *pids)):
        for each in sorted(table(pid), key=lambda each: each.path):
            if each.source == "inner" or each.path.endswith("/mnt"):
                tags = [
                    f"{word}:{names.setdefault(number, f'G{len(names)}')}"
                    for word, _, number in (tag.partition(":") for tag in each.tags)
                ]
                found.append((str(place), each.path, each.options, *tags))
    return found


@pytest.mark.parametrize("propagation", ["private", "slave", "unchanged"])
def test_every_mount_namespace_has_its_own(
    volume: tuple[Holdfast, Path], ram_directory: Path, settings: Settings, propagation: str
) -> None:
    holdfast, path = volume
    with mounted_below(path / "inner") as inner:
        command = ["unshare", "--mount", "--propagation", propagation, "sh", "-c",
                   "cd $0 && echo ready && read x && ls held", str(inner)]  # fmt: skip
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None and other.stdout.readline() == "ready\n"
            before = relations(other.pid), mount_of("inner"), mount_of("inner", other.pid)
            with using(inner, ram_directory / "record"):
                move(holdfast, ram_directory, 2, "xfs")
            now = relations(other.pid), mount_of("inner"), mount_of("inner", other.pid)
            assert now == before
            assert nothing_left(settings.run_directory, other.pid)
            assert other.communicate("go\n")[0] == "held\n", "its working directory"


def put_nothing(place: Path) -> None:
    """The older copy does not have the directory."""


def put_a_link(place: Path) -> None:
    place.symlink_to("/tmp")


def put_a_file(place: Path) -> None:
    place.touch()


@pytest.mark.parametrize(
    ("put", "why"),
    [
        (put_nothing, "was missing in the new contents"),
        (put_a_link, "a symbolic link has its name there"),
        (put_a_file, "something else has its name there"),
    ],
)
def test_other_contents_without_its_directory(
    volume: tuple[Holdfast, Path],
    ram_directory: Path,
    settings: Settings,
    put: Callable[[Path], None],
    why: str,
) -> None:
    holdfast, path = volume
    older = ram_directory / "older"
    older.mkdir()
    put(older / "inner")
    with mounted_below(path / "inner") as inner:
        before = mount_of("inner")
        with (inner / "held").open("w") as held:
            url = f"file:{ram_directory}/2.img"
            receipt = holdfast.restorations.restore(RestoreRequest("data", str(older), url))
            assert receipt is not None
            held.write("its users go on")
        said = [each for each in said_of_it(receipt) if why in each]
        assert len(said) == 1, receipt.details["findings"]
        if put is put_nothing:
            assert mount_of("inner") == before
            assert nothing_left(settings.run_directory)
            return
        assert len(mount_of("inner")) == 1 and mount_of("inner")[0][0] == before[0][0]
        assert not path.joinpath("inner/held").exists()
        mend = next(each["mend"] for each in receipt.details["findings"] if why in each["found"])
        (path / "inner").unlink()
        (path / "inner").mkdir()
        subprocess.run(mend, shell=True, check=True)
        assert mount_of("inner") == before
        assert (inner / "held").read_text() == "its users go on"
        for each in table():
            if each.source.startswith("holdfast-parked"):
                subprocess.run(["umount", each.path], check=True)


def test_a_file_that_is_mounted_over(
    volume: tuple[Holdfast, Path], ram_directory: Path, settings: Settings
) -> None:
    holdfast, path = volume
    other = ram_directory / "other"
    other.write_text("other")
    (path / "name").write_text("hidden")
    subprocess.run(["mount", "--bind", str(other), str(path / "name")], check=True)
    try:
        move(holdfast, ram_directory, 2, "xfs")
        assert (path / "name").read_text() == "other"
    finally:
        subprocess.run(["umount", str(path / "name")], check=True)
    assert (path / "name").read_text() == "hidden"
    assert nothing_left(settings.run_directory)


def test_a_dismount_that_is_refused_leaves_everything(
    volume: tuple[Holdfast, Path], ram_directory: Path, settings: Settings
) -> None:
    """A descriptor that is on its way keeps the volume busy, which nobody can see beforehand."""
    holdfast, path = volume
    with mounted_below(path / "inner") as inner:
        before = relations(), mount_of("inner")
        (path / "sent").touch()
        left, right = socket.socketpair()
        with left, right, using(inner, ram_directory / "record"):
            descriptor = os.open(path / "sent", os.O_RDONLY)
            socket.send_fds(left, [b"x"], [descriptor])
            os.close(descriptor)
            with pytest.raises(InUse):
                move(holdfast, ram_directory, 2, "xfs")
            assert (relations(), mount_of("inner")) == before
            assert nothing_left(settings.run_directory)
        move(holdfast, ram_directory, 3, "xfs")


@pytest.mark.parametrize("how", ["stacked", "volume on it"])
def test_what_cannot_be_parked_is_named_beforehand(
    volume: tuple[Holdfast, Path], ram_directory: Path, how: str
) -> None:
    holdfast, path = volume
    place = path / "inner"
    with ExitStack() as stack:
        stack.enter_context(mounted_below(place))
        if how == "stacked":
            stack.enter_context(mounted_below(place, "stacked"))
        if how == "volume on it":
            (place / "again").mkdir()
            subprocess.run(["mount", "--bind", str(path), str(place / "again")], check=True)
            stack.callback(subprocess.run, ["umount", str(place / "again")], check=True)
        before = table()
        with pytest.raises(Blocked, match="inner"):
            move(holdfast, ram_directory, 2, "xfs")
        assert table() == before


def test_one_in_another_user_namespace_is_named_beforehand(
    volume: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    holdfast, path = volume
    with mounted_below(path / "inner"):
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
                   "echo ready; read x"]  # fmt: skip
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None and other.stdout.readline() == "ready\n"
            with pytest.raises(Blocked, match=f"process {other.pid}"):
                move(holdfast, ram_directory, 2, "xfs")
            other.communicate("end\n")
        move(holdfast, ram_directory, 2, "xfs")
