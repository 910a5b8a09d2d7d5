"""Figures that a test measured are printed where `pytest -s` and the JUnit report show them."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def record_figure(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Callable[[str], None]:
    """`record_figure("25 kills …")`."""

    def record(text: str) -> None:
        record_property("figure", text)
        print(f"\n{request.node.name}: {text}")

    return record
