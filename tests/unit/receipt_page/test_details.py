"""A receipt's details as a person reads them."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.receipt_page.details import detail_facts

PASSES = [
    {"seconds": 0.01, "bytes": 4096, "files": 3},
    {"seconds": 1.2, "bytes": 1 << 20, "files": 9},
]


@pytest.mark.parametrize(
    ("key", "value", "lines"),
    [
        ("pause_ms", 312.4, [("pause", "312.4 ms")]),
        ("predicted_pause_seconds", 0.31, [("predicted pause", "310.0 ms")]),
        ("from", "file:/a", [("from", "file:/a")]),
        ("not_kept", {"creation times": 3}, [("not kept", "creation times 3")]),
        ("lost", ["a", "b"], [("lost", "a"), ("", "b")]),
        ("notes", [], []),
        ("verified", {"entries": 12, "digest": None}, [("verified", "entries 12, digest none")]),
        ("forced", True, [("forced", "yes")]),
        ("online", {"passes": PASSES, "entries": 12}, [(
            "online",
            "passes (took 10.0 ms, size 4.0 KiB, files 3); (took 1.2 s, size 1.0 MiB, files 9),"
            " entries 12",
        )]),
        ("findings", [{"subject": "x", "verdict": "ok", "found": "well", "mend": ""}], [
            ("findings", "x (ok): well"),
        ]),
    ],
)  # fmt: skip
def test_each_kind_of_value(key: str, value: Any, lines: list[tuple[str, str]]) -> None:
    assert detail_facts(key, value) == lines
