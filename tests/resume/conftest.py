"""Figures that a test measured are printed where `pytest -s` and the JUnit report show them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.target.steadfast import compile_steadfast


@pytest.fixture
def record_figure(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Callable[[str], None]:
    """`record_figure("25 kills …")`."""

    def record(text: str) -> None:
        record_property("figure", text)
        print(f"\n{request.node.name}: {text}")

    return record


@pytest.fixture(scope="session")
def steadfast_program(program_folder: Path) -> Path:
    """The program that notices whatever was changed about it."""
    return compile_steadfast(program_folder)
