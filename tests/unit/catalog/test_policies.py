"""What may happen unattended comes back as it was set, and goes with its volume."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.catalog import Catalog
from holdfast.errors import StorageFailed
from holdfast.model.plan import Cause
from holdfast.model.policy import Attempt, AttemptState, OnLoss, Policy, PolicyStanding
from tests.unit.catalog.test_catalog import make_volume

POLICY = Policy(
    OnLoss.RESTORE, "file:/c/x\udce9.img", "block:/dev/y", (Cause.HANG, Cause.READ_ONLY), 1.5
)
ATTEMPT = Attempt("id", 2, 1e9)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalog.sqlite")


def test_a_volume_without_one_has_the_defaults(catalog: Catalog) -> None:
    assert catalog.policies.of("shop") == PolicyStanding()
    assert catalog.policies.all() == {}
    assert PolicyStanding().policy.on_loss is OnLoss.HOLD


def test_it_comes_back_as_it_was_set(catalog: Catalog) -> None:
    catalog.policies.set("shop", POLICY)
    catalog.policies.note("shop", ATTEMPT)
    assert catalog.policies.of("shop") == PolicyStanding(POLICY, ATTEMPT)
    assert catalog.policies.all() == {"shop": PolicyStanding(POLICY, ATTEMPT)}


def test_setting_it_forgets_what_has_ended_and_nothing_else(catalog: Catalog) -> None:
    catalog.policies.note("shop", ATTEMPT)
    catalog.policies.set("shop", POLICY)
    assert catalog.policies.of("shop").attempt == ATTEMPT
    catalog.policies.note("shop", replace(ATTEMPT, state=AttemptState.DONE, ended=2e9))
    catalog.policies.set("shop", POLICY)
    assert catalog.policies.of("shop").attempt is None


def test_it_goes_with_its_volume(catalog: Catalog) -> None:
    catalog.add(make_volume())
    catalog.policies.set(make_volume().name, POLICY)
    catalog.remove(make_volume().name)
    assert catalog.policies.all() == {}


def test_a_damaged_one_is_no_policy(catalog: Catalog, tmp_path: Path) -> None:
    catalog.policies.set("shop", POLICY)
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as connection, connection:
        connection.execute("update policies set policy = '{\"causes\": []}'")
    with pytest.raises(StorageFailed, match="policy of shop"):
        catalog.policies.of("shop")
