"""Fixtures for tests on the real kernel. Skips and the check for leftovers: tests/conftest.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.config import Settings


@pytest.fixture
def soak_rounds() -> Callable[[int, int], int]:
    """`soak_rounds(short, long)`: long loops only with HOLDFAST_SOAK=1."""
    return lambda short, long: long if os.environ.get("HOLDFAST_SOAK") == "1" else short


@pytest.fixture
def image(ram_directory: Path) -> Iterator[Path]:
    """A sparse image of 64 MiB on the RAM disk."""
    path = ram_directory / "leg.img"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    yield path


@pytest.fixture
def settings(ram_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """State and run time on the RAM disk: for tests that make many volumes."""
    home = ram_directory / "home"
    home.mkdir()
    monkeypatch.setenv("HOLDFAST_HOME", str(home))
    return Settings()
