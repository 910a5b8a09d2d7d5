"""The public library: every name it promises is there, and nothing is loaded before it is used."""

from __future__ import annotations

import subprocess
import sys

import holdfast
from holdfast.model.version import VERSION


def test_every_name_is_there() -> None:
    for name in holdfast.__all__:
        assert getattr(holdfast, name).__name__ == name


def test_it_says_the_version_of_the_code() -> None:
    """As gates and the command do."""
    assert holdfast.__version__ == VERSION


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(holdfast, "Nothing")


def test_importing_it_loads_nothing_heavy() -> None:
    """The gate imports the package, and keeps all of its memory locked."""
    program = "import sys, holdfast; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert not {"pydantic", "sqlalchemy", "holdfast.service"} & set(done.stdout.split())
