"""The program that stops and notices is compiled once for each process of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.target.steadfast import compile_steadfast


@pytest.fixture(scope="session")
def steadfast_program(program_folder: Path) -> Path:
    """The program that notices whatever was changed about it."""
    return compile_steadfast(program_folder)
