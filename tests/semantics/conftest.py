"""Fixtures for the claims of docs/semantics.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings


@pytest.fixture
def settings(ram_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """State and run time on the RAM disk."""
    home = ram_directory / "home"
    home.mkdir()
    monkeypatch.setenv("HOLDFAST_HOME", str(home))
    return Settings()
