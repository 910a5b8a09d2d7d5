"""Records of copies: what is to become a leg, or is one of a clone, is refused by programs that
would remove it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from holdfast.config import Settings
from holdfast.copies.records import CopyRecords
from holdfast.model.copy import VolumeCopy

COPY = VolumeCopy("c" * 32, "shop", "id", "file:/copies/shop.img", 4096, 10, 1.0, good_from=20)


def test_the_form_is_the_first_unless_it_becomes_a_leg(tmp_path: Path) -> None:
    records = CopyRecords(Settings(tmp_path))
    path = Settings(tmp_path).state_directory / "copies" / f"{COPY.id}.json"
    records.save(COPY)
    assert {"version", "becomes_leg"}.isdisjoint(json.loads(path.read_text()))
    becoming = replace(COPY, becomes_leg=True)
    records.save(becoming)
    assert json.loads(path.read_text())["version"] == 2
    assert "into" not in json.loads(path.read_text())
    assert records.all() == [becoming] and not becoming.is_complete
    filled = replace(COPY, good_from=None, clone="old", into="file:/old.img", reads_from="d" * 32)
    records.save(filled)
    assert json.loads(path.read_text())["version"] == 3
    assert records.all() == [filled]
    records.save(COPY)
    assert records.all() == [COPY]
