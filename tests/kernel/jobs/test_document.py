"""The example in docs/jobs.md does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import Settings
from tests.kernel.jobs.example import follow


def test_the_example_moves_a_volume(
    settings: Settings, ram_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    follow("jobs.md", settings, ram_directory)
    told = capsys.readouterr().out
    assert "predicted pause" in told and "100.0 %" in told
