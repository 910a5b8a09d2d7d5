"""Figures are as Prometheus reads them; who alerts on, shows or documents them names real ones."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from holdfast.api.metrics import METRICS, OwnFigures, exposition
from holdfast.model.trouble import troubles_of
from holdfast.model.volume import GateReport, LegReport, LegState, VolumeReport, VolumeState

ROOT = Path(__file__).parents[3]
RULES = ROOT / "packaging" / "prometheus" / "holdfast-alerts.yml"
BOARD = ROOT / "packaging" / "grafana" / "holdfast.json"
DOCUMENT = ROOT / "docs" / "api.md"
SAMPLE = re.compile(r'(holdfast_[a-z_]+)\{((?:[a-z]+="[^"\\\n]*",?)*)\} (-?[0-9.e+-]+)')
NAMES = {f"holdfast_{each.name}" for each in METRICS}

GATE = GateReport(
    1, 2, True, "why", 1e9, 3, 4, 5, 1500.0, {"read": 7, "write": 8},
    {"mode": "continuous", "history_state": "fails"}, resident_bytes=9,
)  # fmt: skip
SHOP = VolumeReport(
    "shop", "gated", VolumeState.DEGRADED, "/srv", "ext4", 1 << 30, "/dev/loop1", "id",
    "", "", "", "continuous", 7, gate=GATE, wanted=True,
    legs=(
        LegReport(1, "a", "file:/a", LegState.IN_SYNC),
        LegReport(2, "b", "file:/b", LegState.RESYNCING, 12.5),
    ),
)  # fmt: skip
NOTES = VolumeReport(
    "notes", "adopted", VolumeState.HEALTHY, "/n", "xfs", 1 << 20, "/dev/sda", "id2",
    "", "", "", "none", 0,
)  # fmt: skip


def shown(report: VolumeReport) -> dict[str, Any]:
    return {**asdict(report), "troubles": [asdict(each) for each in troubles_of(report)]}


@pytest.fixture(scope="module")
def text() -> str:
    copies = [{"behind_seconds": 7.5, "behind_bytes": 0}, {"behind_seconds": 0, "behind_bytes": 9}]
    found = {
        "volumes": [shown(SHOP), shown(NOTES)],
        "copies": {"shop": copies},
        "watches": True,
    }
    return exposition(found, OwnFigures("1.0", 2, 1, 1, {"died": 3}))


@pytest.fixture(scope="module")
def samples(text: str) -> dict[tuple[str, str], float]:
    lines = [each for each in text.splitlines() if not each.startswith("#")]
    found = [SAMPLE.fullmatch(each) for each in lines]
    assert None not in found
    return {(each[1], each[2]): float(each[3]) for each in found if each}


def test_figures(samples: dict[tuple[str, str], float]) -> None:
    shop = 'volume="shop"'
    for name, labels, value in [
        ("volume_state", f'{shop},state="degraded"', 1),
        ("volume_state", f'{shop},state="healthy"', 0),
        ("volume_legs", f'{shop},state="in-sync"', 1),
        ("leg_resync_ratio", f'{shop},leg="2"', 0.125),
        ("gate_longest_wait_seconds", shop, 1.5),
        ("gate_requests_total", f'{shop},kind="write"', 8),
        ("gate_history_written", shop, 0),
        ("copy_behind_seconds", shop, 7.5),
        ("copy_behind_bytes", shop, 9),
        ("volume_troubles", f'{shop},grave="yes"', len(troubles_of(SHOP))),
        ("volume_troubles", 'volume="notes",grave="yes"', 0),
        ("jobs_ended_total", 'end="died"', 3),
        ("volumes", "", 2),
    ]:
        assert samples[f"holdfast_{name}", labels] == value, name
    for absent in ("gate_held", "copy_behind_bytes"):
        assert (f"holdfast_{absent}", 'volume="notes"') not in samples


def test_there_are_few(samples: dict[tuple[str, str], float]) -> None:
    assert sum('"shop"' in labels for _, labels in samples) <= 40


def test_each_name_is_described_once_and_given(
    text: str, samples: dict[tuple[str, str], float]
) -> None:
    described = re.findall(r"^# TYPE (\w+) (gauge|counter)$", text, re.MULTILINE)
    assert [name for name, _ in described] == [f"holdfast_{each.name}" for each in METRICS]
    assert {name for name, _ in samples} == NAMES
    assert {name for name, kind in described if kind == "counter"} == {
        name for name in NAMES if name.endswith("_total")
    }


@pytest.mark.parametrize("path", [RULES, BOARD, DOCUMENT], ids=lambda each: each.name)
def test_who_uses_them_names_what_is_there(path: Path) -> None:
    named = set(re.findall(r"\bholdfast_\w+", path.read_text()))
    assert named and named <= NAMES
    if path == DOCUMENT:
        assert named == NAMES


def test_labels_and_values_that_rules_select_are_there(
    samples: dict[tuple[str, str], float],
) -> None:
    text = RULES.read_text() + BOARD.read_text().replace('\\"', '"')
    selected = re.findall(r'(holdfast_\w+)\{(\w+)="(\w+)"\}', text)
    assert selected
    for name, label, value in selected:
        assert any(each == name and f'{label}="{value}"' in labels for each, labels in samples), (
            name,
            label,
            value,
        )


def test_rules_and_dashboard_can_be_read() -> None:
    yaml = pytest.importorskip("yaml")
    rules = [
        each for group in yaml.safe_load(RULES.read_text())["groups"] for each in group["rules"]
    ]
    assert len({each["alert"] for each in rules}) == len(rules) > 5
    for each in rules:
        assert each["labels"]["severity"] in ("critical", "warning")
        assert each["annotations"].keys() == {"summary", "mend"}
    panels = json.loads(BOARD.read_text())["panels"]
    assert all(panel["targets"] and panel["title"] for panel in panels)
