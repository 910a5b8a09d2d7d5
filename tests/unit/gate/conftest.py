"""The kind of container that lies in memory, for the tests that ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.containers import CONTAINERS
from tests.plugs.memory_container import MEDIA, MemoryContainer


@pytest.fixture
def memory_kind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It is known by its URLs: one registry line. What lay there is gone afterwards."""
    monkeypatch.setitem(CONTAINERS, "memory", MemoryContainer)
    yield
    MEDIA.clear()
