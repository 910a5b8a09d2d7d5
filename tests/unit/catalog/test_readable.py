"""Whatever is written to the catalog can be read from it again, else it is not written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.catalog import Catalog
from holdfast.errors import CannotRecord, UnreadableRecord
from holdfast.model.mountpoint import MountPoint
from holdfast.model.plan import StepName
from holdfast.model.restoration import StepRecord, StepState
from holdfast.model.volume import Adoption, Volume
from tests.unit.catalog.test_catalog import make_receipt, make_volume
from tests.unit.catalog.test_restorations import make_restoration

BYTES = "/mnt/\udcff\udc80"
"""As os.fsdecode has names that are no text."""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "state" / "catalog.sqlite")


def adopted(*paths: str, **changes: Any) -> Volume:
    points = tuple(
        MountPoint(
            id=number, namespace=1, witness_pid=4711, path=path, inside=path, options="rw",
            super_options="rw", filesystem="ext4", source="/dev/loop0", device="7:0",
        )
        for number, path in enumerate(paths)
    )  # fmt: skip
    adoption = Adoption("block:/dev/loop0", points=points)
    return replace(make_volume(), kind="adopted", adoption=adoption, **changes)


def test_names_of_any_bytes(catalog: Catalog) -> None:
    mount = replace(make_volume().mount, path=BYTES, options=BYTES, fstab=BYTES)
    volume = adopted(BYTES, mount=mount)
    catalog.add(volume)
    assert catalog.volume("bank") == volume
    catalog.update(replace(volume, attached=False))
    assert catalog.volumes() == [replace(volume, attached=False)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: adopted("/mnt/" + "d" * 70_000),
        lambda: adopted(*["/mnt/" + "\udcff" * 4000] * 500),
        lambda: adopted("/mnt", size_bytes=1 << 70),
        lambda: adopted("/mnt", hold_timeout_seconds=float("nan")),
    ],
    ids=["long", "many", "large", "no number"],
)
def test_a_volume_that_could_not_be_read(catalog: Catalog, make: Callable[[], Volume]) -> None:
    """It is refused, with whose mounts it has; what was known of it stays."""
    volume = make()
    with pytest.raises(CannotRecord, match="process 4711") as refusal:
        catalog.add(volume)
    assert refusal.value.mend
    assert catalog.volumes() == []
    catalog.add(make_volume())
    with pytest.raises(CannotRecord):
        catalog.update(volume)
    assert catalog.volumes() == [make_volume()]


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"record": {"x": "y" * (17 << 20)}},
        lambda: {"record": {"x": float("inf")}},
        lambda: {"step_names": ()},
        lambda: {"step_names": (StepName.THAW, StepName.FREEZE)},
        lambda: {"step_names": (StepName.FREEZE, StepName.FREEZE)},
        lambda: {"deadline_ns": 1 << 63},
    ],
)
def test_a_restoration_that_could_not_be_read(
    catalog: Catalog, make: Callable[[], dict[str, Any]]
) -> None:
    """It does not begin; one that has begun keeps what was known of it."""
    changes = make()
    with pytest.raises(CannotRecord):
        catalog.restorations.begin(replace(make_restoration(), **changes))
    assert catalog.restorations.headings() == []
    catalog.restorations.begin(make_restoration())
    if "record" in changes:
        with pytest.raises(CannotRecord):
            catalog.restorations.note("a", record=changes["record"])
    assert catalog.restorations.of("shop") == make_restoration()


def test_steps_that_are_not_of_the_plan(catalog: Catalog, tmp_path: Path) -> None:
    catalog.restorations.begin(make_restoration())
    catalog.restorations.record("a", StepRecord(StepName.FREEZE, StepState.FINISHED, 1.0))
    with catalog._writing() as connection:
        connection.execute("update restoration_steps set name = 'remount'")
    with pytest.raises(UnreadableRecord, match="not planned"):
        catalog.restorations.of("shop")


def test_words_are_kept_whatever_they_are(catalog: Catalog) -> None:
    """Nothing that is only told keeps a step from being recorded, or a restoration from its end."""
    catalog.restorations.begin(make_restoration())
    short, long = f"{BYTES} is busy", "x" * 100_000
    for words, kept in ((short, short), (long, f"{long[:8192]} …")):
        step = StepRecord(StepName.FREEZE, StepState.FAILED, 1.0, 1.0, words)
        catalog.restorations.record("a", step)
        found = catalog.restorations.of("shop")
        assert found is not None
        assert found.steps == (replace(step, outcome=kept),)
    receipt = replace(
        make_receipt(),
        outcome=f"undone: {BYTES}",
        cause="x" * 100_000,
        details={"notes": ["y" * (17 << 20)]},
    )
    catalog.restorations.end("a", receipt)
    assert catalog.restorations.of("shop") is None
    (noted,) = catalog.receipts()
    assert noted.outcome == receipt.outcome
    assert len(noted.cause) < 10_000
    assert "left_out" in noted.details
    assert noted.steps == receipt.steps
