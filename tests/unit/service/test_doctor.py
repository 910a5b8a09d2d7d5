"""Doctor judges what it measures."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.finding import Finding, Verdict
from holdfast.model.volume import MountProperties, Volume
from holdfast.service.doctor import examine, is_sufficient
from holdfast.service.doctor.kernel import hung_task_watchdog, kernel_version, newcomers, takeover


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.44-amd64", (6, 18)), ("6.9.0", (6, 9)), ("5.10", (5, 10)), ("strange", (0, 0))],
)
def test_kernel_versions_are_numbers_not_text(release: str, version: tuple[int, int]) -> None:
    assert kernel_version(release) == version


@pytest.mark.parametrize(
    ("release", "verdict"),
    [("6.10.3", Verdict.OK), ("6.9.0-rc1", Verdict.OK), ("6.8.12", Verdict.LIMITED),
     ("6.1.0-38-amd64", Verdict.LIMITED), ("7.0", Verdict.OK)],
)  # fmt: skip
def test_takeover_needs_linux_6_9(release: str, verdict: Verdict) -> None:
    (finding,) = takeover(release)
    assert finding.verdict is verdict
    assert bool(finding.mend) == (verdict is not Verdict.OK)


@pytest.mark.parametrize(
    ("release", "words"), [("6.18.44-amd64", ""), ("6.6.1", "starts"), ("6.1.0-38", "directory")]
)
def test_who_comes_by_path_waits_on_newer_kernels(release: str, words: str) -> None:
    (finding,) = newcomers(release)
    assert (finding.verdict is Verdict.OK) == (not words)
    assert words in finding.meaning


def watchdog(folder: Path, seconds: int, panic: int, hold_seconds: float | None) -> Finding:
    (folder / "seconds").write_text(f"{seconds}\n")
    (folder / "panic").write_text(f"{panic}\n")
    mount = MountProperties("/x", "ext4")
    volumes = []
    if hold_seconds is not None:
        volumes = [
            Volume("v", "i", "gated", 1 << 30, mount, hold_timeout_seconds=hold_seconds),
            Volume("w", "j", "gated", 1 << 30, mount, hold_timeout_seconds=1.0),
        ]
    (finding,) = hung_task_watchdog(volumes, folder / "seconds", folder / "panic")
    return finding


def test_the_watchdog_matters_when_volumes_are_held_longer_than_it_waits(tmp_path: Path) -> None:
    assert watchdog(tmp_path, 120, 0, None).verdict is Verdict.LIMITED
    assert watchdog(tmp_path, 120, 0, 60).verdict is Verdict.OK
    assert watchdog(tmp_path, 120, 0, 121).verdict is Verdict.LIMITED
    assert watchdog(tmp_path, 0, 1, 600).verdict is Verdict.OK
    panics = watchdog(tmp_path, 120, 1, 600)
    assert "restarts the whole host" in panics.meaning


def test_only_what_is_missing_makes_a_host_insufficient(tmp_path: Path) -> None:
    levels = (Verdict.OK, Verdict.LIMITED, Verdict.MISSING)
    ok, limited, missing = (Finding("x", verdict, "y") for verdict in levels)
    assert is_sufficient([ok, limited])
    assert not is_sufficient([ok, limited, missing])


def test_examining_leaves_nothing_behind(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.state_directory.mkdir()
    findings = examine(settings)
    assert list(settings.state_directory.iterdir()) == []
    assert not [finding for finding in findings if "could not be examined" in finding.found]
