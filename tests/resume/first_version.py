"""The record of a restoration as 0.1.0 would have written it: what tests put in its place."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.model.restoration import Mode
from holdfast.restoration.records.record import RestorationRecord, as_json, read_record
from holdfast.restoration.storage.directory import parking_directory
from holdfast.restoration.storage.old_and_new import containers_of


def write_as_first_version(home: Settings, volume: str) -> None:
    """Rewrite what is recorded of the restoration that is in progress."""
    with Catalog(home.catalog_path) as catalog:
        restoration = catalog.restorations.of(volume)
        assert restoration is not None
        record = read_record(restoration)
    parking = parking_directory(home, restoration.id)
    write_facts(home.catalog_path, first_version(record, parking))


def write_facts(catalog: Path, facts: object) -> None:
    """Put this in the place of the only record there is."""
    with closing(sqlite3.connect(catalog)) as database, database:
        text = json.dumps(facts)
        assert database.execute("update restorations set facts = ?", (text,)).rowcount == 1


def first_version(record: RestorationRecord, parking: Path) -> dict[str, Any]:
    """One flat object without a version, in which keys that are there mean something."""
    values = json.loads(json.dumps(as_json(record)))
    intent = values["intent"]
    old, new = as_first_volume(intent["old"]), as_first_volume(intent["new"])
    facts: dict[str, Any] = {
        "old": old,
        "points": values["captured"] or intent["points"],
        "deadline_seconds": intent["deadline_seconds"],
        "dead": intent["is_dead"],
        "broken": intent["is_broken"],
    }
    if record.intent.mode is Mode.STALE:
        facts["stale"] = intent["stale_points"]
    else:
        facts |= {
            "predicted_pause_seconds": record.predicted_pause_seconds,
            "same_data": record.intent.mode.keeps_contents,
            "refuses_confined": intent["refuses_confined"],
            "from": ", ".join(containers_of(record.intent.old)),
            "filesystem": "ext4",
            "findings": [*intent["findings"], *values["findings"]],
        }
    if record.intent.new is not None:
        facts |= {
            "new": new,
            "storage": {"volume": new, "existed": intent["existed"]},
            "to": ", ".join(containers_of(record.intent.new)),
            "from_live": record.intent.mode is Mode.MOVE,
        }
    if intent["device"] is not None:
        facts["device"] = intent["device"]
    return facts | _results(values, parking)


def as_first_volume(volume: dict[str, Any] | None) -> dict[str, Any] | None:
    """A volume without the fields that 0.1.0 did not know, which must be empty."""
    if volume is None or volume["adoption"] is None:
        return volume
    adoption = dict(volume["adoption"])
    assert adoption.pop("left_gate") == ""
    return volume | {"adoption": adoption}


def _results(values: dict[str, Any], parking: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if prepared := values["prepared"]:
        facts["online"] = {name: prepared[name] for name in ("passes", "bytes", "entries")}
        facts["prepared"] = {name: prepared[name] for name in ("started", "seconds")}
        facts["prepared"]["outcome"] = "1 passes, 1 bytes"
        facts["lost"] = prepared["lost"]
        if prepared["not_kept"] is not None:
            facts["not_kept"] = prepared["not_kept"]
    if stopping := values["stopping"]:
        facts |= {"parking": str(parking), "frozen_at": stopping["frozen_at"]}
        facts["deadline_seconds"] = stopping["deadline_seconds"]
    if frozen := values["frozen"]:
        facts |= {"frozen": frozen.pop("processes"), **frozen}
    if restored := values["restored"]:
        facts["copied_until"] = restored["copied_until"]
        if restored["not_kept"] is not None:
            facts["not_kept"] = restored["not_kept"]
    names = {"final_pass": "flushed", "fencing": "tokens"}
    for old in ("final_pass", "fencing", "cover", "forced", "verified"):
        value = values[names.get(old, old)]
        if value is not None:
            facts[old] = value
    if cover := facts.get("cover"):
        facts["cover"] = {name: cover[name] for name in ("pid", "started")}
    if replayed := values["replayed"]:
        facts |= {name: replayed[name] for name in ("outcomes", "notes")}
    return facts
