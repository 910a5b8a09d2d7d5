"""Fixtures for the claims of docs/semantics.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.service import Holdfast
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import bench, hold, holder, start
from tests.kernel.restoration.bench import detach_loops_in

__all__ = ["bench", "hold", "holder", "start"]


@pytest.fixture
def settings(ram_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """State and run time on the RAM disk."""
    home = ram_directory / "home"
    home.mkdir()
    monkeypatch.setenv("HOLDFAST_HOME", str(home))
    return Settings()


@pytest.fixture
def adopted(settings: Settings, bench: Bench) -> Iterator[Holdfast]:
    """The mount of the bench, adopted as `data`. Ask for it before programs are started."""
    with Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(bench.path))
        yield holdfast
        bench.close()
    detach_loops_in(bench.folder)
