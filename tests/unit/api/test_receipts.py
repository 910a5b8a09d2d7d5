"""However large receipts are made by whoever has many processes, the newest can be asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.api.questions import MOST_RECEIPT_BYTES, QUESTIONS
from holdfast.config import Settings
from holdfast.model.receipt import Receipt
from holdfast.service import Holdfast


def test_as_many_as_an_answer_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))
    name = "x" * (MOST_RECEIPT_BYTES * 2 // 5)
    with Holdfast(Settings()) as holdfast:
        for number in range(3):
            processes = ({"pid": 1, "name": name},)
            receipt = Receipt(str(number), "shop", "move", "", number, number, "", (), processes)
            holdfast.catalog.restorations.end(receipt.id, receipt)
        about = {"volumes": None, "since": None, "until": None, "limit": 1000}
        found = QUESTIONS["receipts"](holdfast, **about)
        assert [each["id"] for each in found] == ["2", "1"]
        rest = QUESTIONS["receipts"](holdfast, **{**about, "until": "1970-01-01 00:00:01+00:00"})
        assert [each["id"] for each in rest] == ["0"]
        small = Receipt("3", "bank", "move", "", 0.5, 0.5, "", (), ())
        holdfast.catalog.restorations.end(small.id, small)
        for volumes, expected in ((["bank", "shop"], ["2", "1", "3"]), (["bank"], ["3"]), ([], [])):
            found = QUESTIONS["receipts"](holdfast, **{**about, "volumes": volumes})
            assert [each["id"] for each in found] == expected
        merged = {**about, "volumes": ["bank", "shop"], "until": "1970-01-01 00:00:01+00:00"}
        assert [each["id"] for each in QUESTIONS["receipts"](holdfast, **merged)] == ["3", "0"]
