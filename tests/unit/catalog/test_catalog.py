"""The catalog gives back what it was given, and keeps it to itself."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.catalog import Catalog, Ingested
from holdfast.errors import AlreadyExists, NoSuchReceipt, NoSuchVolume, StorageFailed
from holdfast.model.moment import Timespan
from holdfast.model.mountpoint import MountPoint
from holdfast.model.receipt import Receipt, ReceiptStep
from holdfast.model.volume import Adoption, JournalMode, MountProperties, Volume


def make_volume(name: str = "bank", identifier: str = "id-1") -> Volume:
    mount = MountProperties(
        path="/mnt/bänk", filesystem="xfs", options="noatime", label="L", uuid="u-1",
        owner_uid=7, owner_gid=8, mode=0o2770, fstab="LABEL=L /mnt/bänk xfs noatime 0 0",
    )  # fmt: skip
    return Volume(
        name=name, id=identifier, kind="gated", size_bytes=16 << 40, mount=mount,
        leg_urls=("file:/a.img", "block:/dev/b"), spare_urls=("file:/c.img",),
        journal=JournalMode.NONE, hold_timeout_seconds=0.5, hang_timeout_seconds=1.25,
        attached=True,
    )  # fmt: skip


def make_receipt(identifier: str = "r-1", started: float = 1000.25) -> Receipt:
    return Receipt(
        id=identifier, volume="bank", strategy="failover", cause="leg 1: EIO",
        started=started, finished=started + 0.0125, outcome="continued",
        steps=(ReceiptStep("epoch raised", started + 0.001, 0.002, "done"),),
        processes=({"pid": 12, "name": "postgres", "frozen_ms": 0.5, "handles": {}},),
        requests_held=3, errors_returned=0, longest_wait_ms=12.5, bytes_replayed=1 << 40,
        verification="none", details={"leg": 1, "nested": {"list": [1, 2]}},
    )  # fmt: skip


def ingest(catalog: Catalog, tmp_path: Path, *receipts: Receipt) -> None:
    """Add receipts in the way of a gate: as files in a spool."""
    spool = tmp_path / "spool"
    spool.mkdir()
    for receipt in receipts:
        (spool / f"{receipt.id}.json").write_text(json.dumps(receipt.as_json()))
    assert catalog.ingest(spool) == Ingested(len(receipts))


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "state" / "catalog.sqlite")


def test_a_volume_comes_back_as_it_was(catalog: Catalog) -> None:
    catalog.add(make_volume())
    assert catalog.volume("bank") == make_volume()
    assert catalog.volumes() == [make_volume()]


def test_an_adopted_volume_comes_back_with_its_mounts(catalog: Catalog) -> None:
    point = MountPoint(
        id=7, namespace=4026531840, witness_pid=12, path="/a b", inside="sub", options="ro",
        super_options="rw", filesystem="nfs4", source="host:/a", device="0:40",
        propagation="shared-slave", peer_group=3, master_group=1, nested=True, parent=5,
    )  # fmt: skip
    adoption = Adoption(
        source="host:/a", super_options="rw,vers=4.2", needs_network=True, swap_files=("/a/s",),
        below_uid=1, below_gid=2, below_mode=0o711, points=(point,), boot_id="b",
    )  # fmt: skip
    volume = replace(make_volume(), kind="adopted", leg_urls=(), adoption=adoption)
    catalog.add(volume)
    assert catalog.volume("bank") == volume
    assert volume.is_adopted


def test_volumes_outlive_the_process_that_added_them(catalog: Catalog, tmp_path: Path) -> None:
    catalog.add(make_volume())
    catalog.close()
    with Catalog(tmp_path / "state" / "catalog.sqlite") as again:
        assert again.volumes() == [make_volume()]


def test_update_replaces_one_volume_only(catalog: Catalog) -> None:
    catalog.add(make_volume())
    catalog.add(make_volume("other", "id-2"))
    changed = replace(make_volume(), attached=False, leg_urls=("file:/new.img",))
    catalog.update(changed)
    assert catalog.volume("bank") == changed
    assert catalog.volume("other") == make_volume("other", "id-2")


def test_the_same_name_or_identity_is_refused(catalog: Catalog) -> None:
    catalog.add(make_volume())
    with pytest.raises(AlreadyExists):
        catalog.add(make_volume("bank", "id-2"))
    with pytest.raises(AlreadyExists):
        catalog.add(make_volume("other", "id-1"))
    assert catalog.volumes() == [make_volume()]


def test_what_is_not_there_cannot_be_read_changed_or_removed(catalog: Catalog) -> None:
    for ask in (
        lambda: catalog.volume("bank"),
        lambda: catalog.update(make_volume()),
        lambda: catalog.remove("bank"),
    ):
        with pytest.raises(NoSuchVolume):
            ask()


def test_receipts_outlive_their_volume(catalog: Catalog, tmp_path: Path) -> None:
    catalog.add(make_volume())
    ingest(catalog, tmp_path, make_receipt())
    catalog.remove("bank")
    assert catalog.volumes() == []
    assert catalog.receipts("bank") == [make_receipt()]


def test_receipts_come_newest_first_and_by_volume(catalog: Catalog, tmp_path: Path) -> None:
    old, new = make_receipt("old", 1.0), make_receipt("new", 2.0)
    stranger = replace(make_receipt("stranger", 3.0), volume="other")
    ingest(catalog, tmp_path, old, new, stranger)
    assert catalog.receipts() == [stranger, new, old]
    assert catalog.receipts("bank") == [new, old]
    assert catalog.receipts(limit=1) == [stranger]
    assert catalog.receipts(begun=Timespan(since=2.0)) == [stranger, new]
    assert catalog.receipts("bank", begun=Timespan(1.0, 2.0)) == [old]


def test_a_receipt_is_found_by_a_prefix_that_is_unique(catalog: Catalog, tmp_path: Path) -> None:
    identifiers = ("ab_1", "ab_2", "abX3", "ab")
    ingest(catalog, tmp_path, *(make_receipt(identifier) for identifier in identifiers))
    assert catalog.receipt("ab_1").id == "ab_1"
    assert catalog.receipt("ab").id == "ab"
    assert catalog.receipt("abX").id == "abX3"
    for vague in ("ab_", "zz", "%", "a%3"):
        with pytest.raises(NoSuchReceipt):
            catalog.receipt(vague)


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "catalog.sqlite"
    with Catalog(path) as catalog:
        catalog.add(make_volume())
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_garbled_catalog_is_a_coded_error(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"this is no database, whatever it says" * 300)
    with pytest.raises(StorageFailed, match="cannot be opened"):
        Catalog(path)
