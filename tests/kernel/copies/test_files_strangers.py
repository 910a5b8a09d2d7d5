"""What was root's alone stays so when it is put back into a directory of somebody else's."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.restoration.copying.past_files import Brought, put_back, put_into

STRANGER, OTHER = 12345, 12346
Restoring = Callable[[str], Brought]


@pytest.fixture(name="sides")
def _sides(ram_directory: Path) -> tuple[Path, Path]:
    """The volume as it was, and as it is; `his` is a directory of a stranger's in both."""
    sides = ram_directory / "past", ram_directory / "present"
    for each in sides:
        (each / "his").mkdir(parents=True)
        os.chown(each / "his", STRANGER, STRANGER)
    return sides


@pytest.fixture(name="restored")
def _restored(sides: tuple[Path, Path]) -> Restoring:
    def restored(path: str) -> Brought:
        past, present = (os.open(each, os.O_RDONLY) for each in sides)
        try:
            return put_back(past, [os.fsencode(each) for each in path.split("/")], present)
        finally:
            os.close(past)
            os.close(present)

    return restored


def made(path: Path, contents: str, mode: int, owner: int = 0, folder_mode: int = 0o700) -> Path:
    if not path.parent.exists():
        path.parent.mkdir(mode=folder_mode)
    path.write_text(contents)
    os.chown(path, owner, owner)
    path.chmod(mode)
    return path


def test_what_only_its_directory_closed(sides: tuple[Path, Path], restored: Restoring) -> None:
    past, present = sides
    made(past / "his" / "closed" / "key", "secret", 0o644)
    for owner, mode in ((STRANGER, 0o700), (0, 0o755)):  # his own; one of root's, renamed
        (present / "his" / "closed").mkdir()
        os.chown(present / "his" / "closed", owner, owner)
        (present / "his" / "closed").chmod(mode)
        assert "lets others in" in restored("his").left[0]
        with pytest.raises(OSError, match="lets others in"):
            restored("his/closed/key")
        (present / "his" / "closed").rmdir()
    assert restored("his/closed/key").files == 1
    assert (present / "his" / "closed").stat().st_mode & 0o777 == 0o700


def test_a_file_that_somebody_has_open(sides: tuple[Path, Path], restored: Restoring) -> None:
    past, present = sides
    made(past / "his" / "key", "secret", 0o600)
    made(present / "his" / "key", "what everybody may read", 0o644)  # renamed by him
    with (present / "his" / "key").open() as reader:
        assert "others can change" in restored("his/key").left[0]
        assert "secret" not in reader.read()
    # His own, and root's where nobody else can rename anything, are written in place.
    made(past / "his" / "own", "then", 0o600, STRANGER)
    made(past / "roots", "then", 0o600)
    for path in ("his/own", "roots"):
        made(present / path, "now", 0o644, STRANGER if path == "his/own" else 0)
        with (present / path).open() as reader:
            assert restored(path) == Brought(1, 4)
            assert reader.read() == "then"


def test_a_large_file_is_no_silence(sides: tuple[Path, Path]) -> None:
    """Whoever waits for it takes silence for storage that hangs."""
    (sides[0] / "large").write_bytes(bytes(range(256)) * (3 << 12))
    told: list[None] = []
    descriptors = [os.open(each, os.O_RDONLY) for each in sides]
    for _ in ("written", "compared"):
        told.clear()
        put_back(descriptors[0], [b"large"], descriptors[1], lambda: told.append(None))
        assert len(told) > 3
    for each in descriptors:
        os.close(each)


def test_rights_come_with_new_files_only(
    sides: tuple[Path, Path], restored: Restoring, ram_directory: Path
) -> None:
    past, present = sides
    program = made(past / "his" / "program", "of root's", 0o4755)
    made(present / "his" / "program", "", 0o666)  # of root's, and he has mapped it
    assert "as a new file" in restored("his/program").left[0]
    (present / "his" / "program").unlink()
    assert restored("his/program").left == []
    assert stat.S_IMODE((present / "his" / "program").stat().st_mode) == 0o4755
    # Outside of the volume, which may be mounted without them, there are none.
    outside = ram_directory / "outside"
    outside.mkdir()
    descriptors = [os.open(each, os.O_RDONLY) for each in (past, outside)]
    brought = put_into(descriptors[0], [b"his", b"program"], descriptors[1])
    for each in descriptors:
        os.close(each)
    assert "without its set-id bits" in brought.left[0]
    assert (outside / "program").read_text() == program.read_text()
    assert stat.S_IMODE((outside / "program").stat().st_mode) == 0o755
