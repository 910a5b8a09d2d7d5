"""A restoration in progress comes back as it was left, and ends together with its receipt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.catalog import Catalog
from holdfast.errors import InUse
from holdfast.model.plan import StepName, Strategy
from holdfast.model.receipt import Receipt
from holdfast.model.restoration import Copy, Restoration, RestorationStage, StepRecord, StepState


def make_restoration(identifier: str = "a", volume: str = "shop") -> Restoration:
    return Restoration(
        id=identifier,
        volume=volume,
        strategy=Strategy.MIGRATE,
        cause="planned",
        started=1000.5,
        stage=RestorationStage.PREPARING,
        boot_id="boot",
        deadline_ns=0,
        step_names=(StepName.FREEZE, StepName.DISMOUNT, StepName.THAW),
        record={"source": "/dev/loop7", "points": [{"id": 1 << 40}]},
    )


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalog.sqlite")


def test_a_restoration_comes_back_as_it_was(catalog: Catalog) -> None:
    catalog.restorations.begin(make_restoration())
    assert catalog.restorations.all() == [make_restoration()]
    assert catalog.restorations.of("shop") == make_restoration()
    assert catalog.restorations.of("other") is None


def test_a_volume_has_one_restoration_at_a_time(catalog: Catalog) -> None:
    catalog.restorations.begin(make_restoration())
    with pytest.raises(InUse):
        catalog.restorations.begin(make_restoration("b"))
    catalog.restorations.begin(make_restoration("c", "other"))


def test_a_note_replaces_what_it_names_and_keeps_the_rest(catalog: Catalog) -> None:
    catalog.restorations.begin(make_restoration())
    record = {**make_restoration().record, "more": 1}
    catalog.restorations.note("a", record=record, deadline_ns=1 << 61)
    catalog.restorations.note("a", stage=RestorationStage.RUNNING)
    found = catalog.restorations.of("shop")
    assert found is not None
    assert found.stage is RestorationStage.RUNNING
    assert found.record == {**make_restoration().record, "more": 1}
    assert found.deadline_ns == 1 << 61


def test_a_steps_record_is_replaced_and_read_in_the_order_of_the_plan(catalog: Catalog) -> None:
    catalog.restorations.begin(make_restoration())
    dismount = StepRecord(StepName.DISMOUNT, StepState.STARTED, 2.0)
    freeze = StepRecord(StepName.FREEZE, StepState.FINISHED, 1.0, 0.5, "2 processes")
    catalog.restorations.record("a", dismount)
    catalog.restorations.record("a", freeze)
    dismounted = replace(dismount, state=StepState.FINISHED, seconds=0.25)
    catalog.restorations.record("a", dismounted)
    found = catalog.restorations.of("shop")
    assert found is not None
    assert found.steps == (freeze, dismounted)
    assert found.has_finished(StepName.DISMOUNT)
    assert not found.has_finished(StepName.THAW)


def test_the_end_leaves_the_receipt_and_nothing_else(catalog: Catalog) -> None:
    receipt = Receipt(
        id="a", volume="shop", strategy="migrate", cause="planned", started=1.0, finished=2.0,
        outcome="done",
    )  # fmt: skip
    catalog.restorations.begin(make_restoration())
    catalog.restorations.record("a", StepRecord(StepName.FREEZE, StepState.FINISHED, 1.0))
    for _ in range(2):
        catalog.restorations.end("a", receipt)
    assert catalog.restorations.all() == []
    assert catalog.receipts() == [receipt]
    catalog.restorations.begin(make_restoration())
    assert catalog.restorations.all()[0].steps == ()


def test_copies_are_listed_by_volume_newest_first(catalog: Catalog) -> None:
    old = Copy("1", "shop", ("file:/a.img", "file:/b.img"), "ext4", "u", "v", 10.0, "migrate")
    new = replace(old, id="2", made=20.0, urls=("block:/dev/x",), volume_id="")
    other = replace(old, id="3", volume="bank")
    for copy in (old, new, other, old):
        catalog.restorations.add_copy(copy)
    assert catalog.restorations.copies("shop") == [new, old]
    assert len(catalog.restorations.copies()) == 3
