"""The table of file systems, and what a probe of plain images says."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.errors import InvalidOption
from holdfast.model.volume import FILE_SYSTEMS
from holdfast.system.children.run import run
from holdfast.system.storage.filesystem import (
    KINDS,
    check_filesystem,
    fitting_label,
    identify,
    kind_of,
)


def test_every_file_system_of_the_model_has_an_entry() -> None:
    assert tuple(KINDS) == FILE_SYSTEMS


def test_an_unknown_file_system_is_refused_by_name() -> None:
    with pytest.raises(InvalidOption, match="'ntfs'"):
        kind_of("ntfs")


@pytest.mark.parametrize(("name", "label"), [("ext4", "a" * 16), ("xfs", "a" * 12)])
def test_a_long_label_is_cut(name: str, label: str) -> None:
    assert fitting_label(name, "a" * 40) == label


def test_a_label_is_never_cut_inside_a_character() -> None:
    assert fitting_label("xfs", "ü" * 7) == "ü" * 6


def test_an_image_is_identified_with_label_and_uuid(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    assert identify(str(image)) is None
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    run(["mkfs.ext4", "-q", "-L", "two words ü", "-U", uuid, str(image)])
    found = identify(str(image))
    assert found is not None
    assert (found.type, found.label, found.uuid) == ("ext4", "two words ü", uuid)
    assert check_filesystem("ext4", str(image)).clean


def test_a_damaged_file_system_does_not_pass_its_check(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    run(["mkfs.ext4", "-q", str(image)])
    with image.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 65536)
    assert not check_filesystem("ext4", str(image)).clean


def test_a_partition_table_is_recognised(tmp_path: Path) -> None:
    image = tmp_path / "image"
    entry = bytes([0, 0, 2, 0, 0x83, 1, 1, 1]) + (2048).to_bytes(4, "little")
    entry += (8192).to_bytes(4, "little")
    with image.open("wb") as file:
        file.truncate(16 << 20)
        file.seek(446)
        file.write(entry + bytes(48) + b"\x55\xaa")
    found = identify(str(image))
    assert found is not None
    assert str(found) == "a dos partition table"
