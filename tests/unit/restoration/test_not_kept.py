"""What a copy lacks, in words."""

from __future__ import annotations

import pytest

from holdfast.model.finding import Verdict
from holdfast.restoration.assessing.not_kept import about_the_files, about_the_replaced, in_words
from holdfast.restoration.copying.losses import SHARED_BYTES, SHARED_FILES
from holdfast.restoration.storage.origin import Origin
from holdfast.restoration.storage.target import without_projects


@pytest.mark.parametrize(
    ("options", "filesystem", "subjects"),
    [
        ("rw,attr2,noquota", "ext4", []),
        ("rw,usrquota,grpquota", "xfs", ["quota"]),
        ("rw,prjquota", "xfs", ["quota"]),
        ("rw,prjquota", "ext4", ["quota", "project ids"]),
        ("rw,pqnoenforce", "btrfs", ["quota", "project ids"]),
    ],
)
def test_quotas_of_xfs(options: str, filesystem: str, subjects: list[str]) -> None:
    origin = Origin("xfs", "", super_options=options)
    assert [each.subject for each in about_the_replaced(origin, filesystem)] == subjects


def test_a_new_ext4_is_not_mounted_with_what_it_was_not_made_for() -> None:
    options, dropped = without_projects("rw,usrquota,prjquota,discard")
    assert options == "rw,usrquota,discard"
    assert [each.verdict for each in dropped] == [Verdict.LIMITED]
    assert without_projects("rw,usrquota") == ("rw,usrquota", [])


def test_a_source_of_an_unknown_type_says_nothing() -> None:
    assert about_the_files(Origin("nfs4", "server:/data"), "ext4") == []
    assert about_the_replaced(Origin("nfs4", "server:/data"), "ext4") == []


def test_what_cannot_be_asked_is_said() -> None:
    found = about_the_files(Origin("ext4", "/nonexistent"), "ext4")
    assert [each.subject for each in found] == ["properties of ext4"]


def test_counts_in_words() -> None:
    finding = in_words({"project id": 3, SHARED_FILES: 2, SHARED_BYTES: 2 << 20, "fs-verity": 1})
    assert finding.found == "project id: 3, fs-verity: 1, 2.0 MiB that 2 files shared with others"
