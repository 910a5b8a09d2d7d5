"""The example in docs/api.md does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import Settings
from tests.kernel.api.serving import api
from tests.kernel.jobs.example import follow


def test_the_example_moves_a_volume(
    settings: Settings, ram_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with api():
        follow("api.md", settings, ram_directory)
    assert "freeze" in capsys.readouterr().out
