"""When a change time is old enough to tell of every later change, by how finely it is counted."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.restoration.copying.trees.tree import signature_of

SECOND_NS = 1_000_000_000
NOW_NS = 1_700_000_100 * SECOND_NS + 123_456_789


@pytest.mark.parametrize(
    ("changed_ns", "settled"),
    [
        (NOW_NS - 10_000_000, False),
        (NOW_NS - 100_000_000, True),
        (NOW_NS // SECOND_NS * SECOND_NS, False),  # whole seconds: it may change again unseen
        ((NOW_NS // SECOND_NS - 2) * SECOND_NS, False),
        ((NOW_NS // SECOND_NS - 4) * SECOND_NS, True),
        (NOW_NS // 10_000_000 * 10_000_000 - SECOND_NS, False),
    ],
)
def test_is_settled(tmp_path: Path, changed_ns: int, settled: bool) -> None:
    signature = replace(signature_of(os.lstat(tmp_path)), changed_ns=changed_ns)
    assert signature.is_settled(NOW_NS) is settled
