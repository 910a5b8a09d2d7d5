"""The record of a restoration is read as it was written, by this version or by 0.1.0, or refused.

`records/` has what 0.1.0 wrote when it was killed: the entry of the catalog, its steps, and the
names of the files in the restoration's directory.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.catalog import Catalog
from holdfast.catalog.rows import restoration_of_rows
from holdfast.config import Settings
from holdfast.errors import CannotRecord, StorageFailed, UnreadableRecord
from holdfast.model.restoration import Mode, Restoration
from holdfast.restoration.performing.receipts import receipt_of, verification_of
from holdfast.restoration.records.record import (
    VERSION,
    ReplayResult,
    RestorationRecord,
    as_json,
    checked_json,
    read_record,
)
from holdfast.restoration.storage.directory import forget_directory
from tests.resume.first_version import as_first_volume, first_version
from tests.soak import rounds
from tests.unit.test_strangers_bytes import FUZZ, JSON

FOLDER = Path(__file__).with_name("records")
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))

MODES = {
    "adopted": Mode.MOVE,
    "gated": Mode.MOVE,
    "restore": Mode.REPLACE,
    "dead": Mode.REPLACE,
    "parked": Mode.PARK,
    "stale": Mode.STALE,
}

DETAILS = (
    "from", "to", "filesystem", "online", "final_pass", "verified", "forced", "notes", "lost",
    "not_kept", "fencing", "predicted_pause_seconds", "findings",
)  # fmt: skip
"""What receipts of 0.1.0 had of a record."""


def written(name: str) -> Restoration:
    """What the catalog says of a restoration that 0.1.0 began."""
    found = json.loads((FOLDER / f"{name}.json").read_text())
    entry, steps = found["entry"], found["steps"]
    return restoration_of_rows(entry, steps)


@pytest.mark.parametrize("name", NAMES)
def test_what_0_1_0_wrote_is_understood(name: str) -> None:
    old = written(name)
    facts = old.record
    record = read_record(old)
    assert record.intent.mode is MODES[name.partition("_")[0]]
    assert record.intent.old.name == old.volume
    assert record.intent.mode.keeps_contents == facts.get("same_data", False)
    assert (record.intent.mode is Mode.MOVE) == facts.get("from_live", False)
    assert record.intent.is_dead == facts["dead"]
    assert record.intent.is_broken == facts["broken"]
    assert (record.stopping is not None) == ("parking" in facts)
    assert (record.cover is not None) == ("cover" in facts)
    plain = json.loads(json.dumps(as_json(record)))
    assert as_first_volume(plain["intent"]["old"]) == facts["old"]
    assert plain["intent"]["points"] == facts["points"]
    assert as_first_volume(plain["intent"]["new"]) == facts.get("new")
    assert plain["intent"]["stale_points"] == facts.get("stale", [])
    assert plain["intent"]["device"] == facts.get("device")


@pytest.mark.parametrize("name", NAMES)
def test_its_receipt_says_what_0_1_0_would_have_said(name: str) -> None:
    old = written(name)
    facts = old.record
    receipt = receipt_of(old, read_record(old), "done", thawed_at=facts.get("frozen_at"))
    expected = {key: facts[key] for key in DETAILS if key in facts}
    if "frozen_at" in facts:
        expected["pause_ms"] = 0.0
    assert json.loads(json.dumps(receipt.details)) == expected
    frozen = [tuple(each) for each in facts.get("frozen", ())]
    assert [(each["pid"], each["name"]) for each in receipt.processes] == frozen
    assert [each["handles"] for each in receipt.processes] == [
        facts.get("outcomes", {}).get(str(pid), {}) for pid, _ in frozen
    ]
    assert receipt.requests_held == facts.get("calls_made_again", 0)
    assert receipt.bytes_replayed == facts.get("final_pass", {}).get("bytes", 0)
    names = [step.name for step in receipt.steps]
    assert names == ["prepare"] * ("prepared" in facts) + [str(step.name) for step in old.steps]


@pytest.mark.parametrize("name", NAMES)
def test_it_comes_back_as_it_was(name: str) -> None:
    old = written(name)
    record = read_record(old)
    again = json.loads(json.dumps(as_json(record)))
    assert again["version"] == VERSION
    assert read_record(replace(old, record=again)) == record


def test_one_of_a_newer_version_is_refused_with_a_way_out() -> None:
    old = written("parked")
    newer = as_json(read_record(old)) | {"version": VERSION + 1, "colour": "blue"}
    with pytest.raises(UnreadableRecord, match="newer version") as caught:
        read_record(replace(old, record=newer))
    assert "recover --abandon data" in caught.value.mend


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"intent": None}, "Intent"),
        ({"version": -1}, "version -1"),
        ({"version": "1"}, "version"),
        ({"colour": "blue"}, "colour"),
        ({"stopping": {"deadline_seconds": -1, "frozen_at": 0}}, "deadline_seconds"),
    ],
)
def test_a_damaged_one_says_what_is_wrong(change: dict[str, Any], why: str) -> None:
    old = written("parked")
    damaged = as_json(read_record(old)) | change
    with pytest.raises(UnreadableRecord, match=why):
        read_record(replace(old, record=damaged))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mode": "move"}, "contradict"),
        ({"mode": "stale"}, "contradict"),
        ({"mode": "dance"}, "dance"),
        ({"old": None}, "Volume"),
        ({"deadline_seconds": 1e30}, "deadline_seconds"),
    ],
)
def test_parts_that_contradict_each_other_are_damage(change: dict[str, Any], why: str) -> None:
    old = written("parked")
    record = as_json(read_record(old))
    damaged = record | {"intent": record["intent"] | change}
    with pytest.raises(UnreadableRecord, match=why):
        read_record(replace(old, record=damaged))


def test_what_could_not_be_read_again_is_not_written() -> None:
    """Whoever comes after a death could neither finish nor undo it."""
    old = written("parked")
    record = read_record(old)
    point = replace(record.intent.points[0], path="/mnt/" + "d" * 70_000)
    for spoilt in (
        replace(record, captured=(point,)),
        replace(record, captured=(record.intent.points[0],) * 60_000),
        replace(record, replayed=ReplayResult({}, ("x" * 70_000,))),
    ):
        with pytest.raises(CannotRecord, match="data"):
            checked_json(old, spoilt)
    assert read_record(replace(old, record=checked_json(old, record))) == record


def test_the_record_of_another_volume_is_damage() -> None:
    with pytest.raises(UnreadableRecord, match="'data'"):
        read_record(replace(written("parked"), volume="other"))


@functools.cache
def documents() -> list[Restoration]:
    """Of both versions."""
    old = [written(name) for name in NAMES]
    return old + [replace(each, record=as_json(read_record(each))) for each in old]


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything in a JSON value."""
    found = [path]
    if isinstance(value, dict):
        for key, each in value.items():
            found += places(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            found += places(each, (*path, number))
    return found


def exchanged(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The value with something else at that place."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = exchanged(value[path[0]], path[1:], new)
    return copy


PIECES = JSON | st.sampled_from([-1, 0, 1 << 80, 1e308, "", "x" * 70_000, "/", [[]], {"": {}}])


@st.composite
def damaged(draw: st.DrawFn) -> Restoration:
    """A record of ours with something else in some places, or something else altogether."""
    one = draw(st.sampled_from(documents()))
    value = json.loads(json.dumps(one.record))
    for _ in range(draw(st.integers(1, 3))):
        value = exchanged(value, draw(st.sampled_from(places(value))), draw(PIECES))
    return replace(one, record=value)


@settings(FUZZ, max_examples=rounds(40, 4_000))
@given(damaged())
def test_any_json_is_a_record_or_refused(one: Restoration) -> None:
    try:
        record = read_record(one)
    except UnreadableRecord as error:
        assert error.code
        assert "--abandon" in error.mend
        return
    assert isinstance(record, RestorationRecord)
    receipt = receipt_of(one, record, "undone", verification=verification_of(record))
    json.dumps(receipt.as_json(), allow_nan=False)
    assert read_record(replace(one, record=as_json(record))) == record


@pytest.mark.parametrize("text", ["null", "[]", '"x"', "{", "[" * 50 + "]" * 50, '{"a": 1e999}'])
def test_whatever_is_in_the_catalog_its_heading_can_be_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "catalog.sqlite"
    old = written("parked")
    with Catalog(path) as catalog:
        catalog.restorations.begin(replace(old, steps=()))
    with sqlite3.connect(path) as database:
        database.execute("update restorations set facts = ?", (text,))
    with Catalog(path) as catalog:
        heading = catalog.restorations.heading("data")
        assert heading is not None
        assert catalog.restorations.headings() == [heading]
        assert (heading.id, heading.strategy) == (old.id, "detach")
        with pytest.raises(StorageFailed) as caught:
            found = catalog.restorations.of("data")
            assert found is not None
            read_record(found)
        assert "recover --abandon data" in caught.value.mend
        catalog.restorations.end(heading.id, None)
        assert catalog.restorations.of("data") is None


@pytest.mark.parametrize("name", NAMES)
def test_what_tests_write_as_0_1_0_is_what_it_wrote(name: str) -> None:
    """The kill tests put that in the place of a record and go on from it."""
    facts = dict(written(name).record)
    record = read_record(written(name))
    played = first_version(record, Path(facts.get("parking", "/")))
    for each in (facts, played):
        each.pop("filesystem", None)
        each.get("prepared", {}).pop("outcome", None)
    assert played == facts


@pytest.mark.parametrize("identifier", ["", ".", "..", "/", "/etc", "../gates", "a\0"])
def test_an_id_that_is_no_name_leads_to_no_directory(tmp_path: Path, identifier: str) -> None:
    """What lies in the directory of a restoration is deleted in the end."""
    with pytest.raises(UnreadableRecord):
        forget_directory(Settings(home=tmp_path), identifier)
