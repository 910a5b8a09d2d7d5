"""Gates' states change places; killed between any two renames, that of before comes back."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.volume import ADOPTED, GATED, Adoption, MountProperties, Volume
from holdfast.restoration.storage.directory import NEW_GATE, OLD_GATE, directory_of
from holdfast.restoration.storage.old_and_new import exchange_gates, put_old_gate_back


def volume(kind: str) -> Volume:
    return Volume(
        "shop",
        str(uuid.uuid4()),
        kind,
        1 << 30,
        MountProperties("/srv/shop", "ext4"),
        adoption=Adoption("file:/plain.img") if kind == ADOPTED else None,
    )


def written_in(directory: Path) -> str:
    return (directory / "gate.json").read_text()


def states(settings: Settings, *names: str) -> tuple[Path, Path]:
    """The place of the state in use, and the restoration's directory, with these in them."""
    place, folder = settings.gate_state_directory("shop"), directory_of(settings, "1")
    place.parent.mkdir(parents=True)
    folder.mkdir(parents=True)
    for name, directory in (("old", place), ("new", folder / NEW_GATE)):
        if name in names:
            directory.mkdir()
            (directory / "gate.json").write_text(name)
    return place, folder


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_gate_in_place_of_another(tmp_path: Path, renames: int) -> None:
    settings = Settings(home=tmp_path)
    place, folder = states(settings, "old", "new")
    old, new = volume(GATED), volume(GATED)
    if renames == 1:
        place.rename(folder / OLD_GATE)
    elif renames == 2:
        for _ in range(2):
            exchange_gates(settings, "1", old, new)
            assert written_in(place) == "new"
            assert written_in(folder / OLD_GATE) == "old"
    for _ in range(2):
        put_old_gate_back(settings, "1", old, new)
        assert written_in(place) == "old"
        assert written_in(folder / NEW_GATE) == "new"
        assert not (folder / OLD_GATE).exists()


@pytest.mark.parametrize("renamed", [False, True])
def test_a_gate_in_place_of_none(tmp_path: Path, renamed: bool) -> None:
    settings = Settings(home=tmp_path)
    place, folder = states(settings, "new")
    old, new = volume(ADOPTED), volume(GATED)
    for _ in range(2 * renamed):
        exchange_gates(settings, "1", old, new)
        assert written_in(place) == "new"
        assert not (folder / OLD_GATE).exists()
    for _ in range(2):
        put_old_gate_back(settings, "1", old, new)
        assert not place.exists()
        assert written_in(folder / NEW_GATE) == "new"


@pytest.mark.parametrize("renamed", [False, True])
def test_none_in_place_of_a_gate(tmp_path: Path, renamed: bool) -> None:
    settings = Settings(home=tmp_path)
    place, folder = states(settings, "old")
    old, new = volume(GATED), volume(ADOPTED)
    for _ in range(2 * renamed):
        exchange_gates(settings, "1", old, new)
        assert not place.exists()
        assert written_in(folder / OLD_GATE) == "old"
    for _ in range(2):
        put_old_gate_back(settings, "1", old, new)
        assert written_in(place) == "old"
        assert not (folder / OLD_GATE).exists()


def test_what_lies_there_is_left_alone_where_there_is_no_gate_at_all(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    place, _ = states(settings, "old")
    old, new = volume(ADOPTED), volume(ADOPTED)
    exchange_gates(settings, "1", old, new)
    put_old_gate_back(settings, "1", old, new)
    assert written_in(place) == "old"
