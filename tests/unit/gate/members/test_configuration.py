"""gate.json: the version of its form."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import NewerVersion
from holdfast.gate.members.configuration import (
    FILE_NAME,
    VERSION,
    GateConfiguration,
    LegEntry,
    load_configuration,
    load_running,
    save_configuration,
)
from holdfast.gate.members.provision import provision
from holdfast.model.volume import JournalMode
from holdfast.volumes.attach import rebuild_volume

KNOWN = GateConfiguration("shop", "7f9c", 64 << 20, 3, (LegEntry(1, "i", "file:/a"),))


def write(folder: Path, version: object) -> bytes:
    """gate.json, as that version might write it; what is in the file."""
    folder.mkdir(exist_ok=True)
    values = {"version": version, "unknown": 1, **asdict(KNOWN)}
    (folder / FILE_NAME).write_text(json.dumps(values))
    return (folder / FILE_NAME).read_bytes()


def test_the_first_version_is_not_written(tmp_path: Path) -> None:
    """Older programs, which may be running, refuse a key that they do not know."""
    save_configuration(tmp_path, KNOWN)
    assert "version" not in json.loads((tmp_path / FILE_NAME).read_text())
    assert load_configuration(tmp_path) == KNOWN


def test_a_history_is_not_for_older_programs(tmp_path: Path) -> None:
    """They would go on without; once it has ended they may."""
    kept = replace(KNOWN, journal=JournalMode.CONTINUOUS)
    save_configuration(tmp_path, kept)
    assert json.loads((tmp_path / FILE_NAME).read_text())["version"] == VERSION
    assert load_configuration(tmp_path) == kept
    save_configuration(tmp_path, KNOWN)
    assert "version" not in json.loads((tmp_path / FILE_NAME).read_text())


def test_its_number_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps({"version": VERSION, **asdict(KNOWN)}))
    assert load_configuration(tmp_path) == KNOWN


def test_a_newer_version_is_refused_with_a_mend(tmp_path: Path) -> None:
    write(tmp_path, VERSION + 1)
    with pytest.raises(NewerVersion, match="newer version") as refused:
        load_configuration(tmp_path)
    assert str(tmp_path) in refused.value.message
    assert refused.value.mend


def test_a_worker_does_not_go_on_with_less_than_its_predecessor_had(tmp_path: Path) -> None:
    """The copy is of a newer version: what is in the state directory is not newer than that."""
    state, run = tmp_path / "state", tmp_path / "run"
    state.mkdir()
    save_configuration(state, KNOWN)
    write(run, VERSION + 1)
    with pytest.raises(NewerVersion):
        load_running(state, run, KNOWN.epoch)


def test_nobody_writes_over_it(tmp_path: Path) -> None:
    """It is not lost: superblocks, which can be read, do not stand for it."""
    settings = Settings(home=tmp_path)
    image = f"file:{tmp_path}/1.img"
    legs = (LegEntry(1, "i", image),)
    configuration = replace(KNOWN, legs=legs, descriptor={"name": "shop"})
    folder = settings.gate_state_directory("shop")
    provision(folder, configuration, create=True)
    before = write(folder, VERSION + 1)
    with pytest.raises(NewerVersion):
        rebuild_volume(settings, "shop", [image])
    assert (folder / FILE_NAME).read_bytes() == before
