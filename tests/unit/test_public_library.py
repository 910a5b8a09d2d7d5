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
    assert not {"typer", "sqlite3", "holdfast.service"} & loaded_by("import holdfast")


def test_neither_a_gate_nor_a_short_command_loads_openssl() -> None:
    """As hashlib does, and secrets by it: 4 MiB, which a gate locks and every fork copies."""
    for program in ("import holdfast.gate.__main__", "import holdfast.cli.commands.status"):
        assert not {"hashlib", "_hashlib", "ssl"} & loaded_by(program)


def test_a_view_loads_no_page() -> None:
    assert "html" not in loaded_by("import holdfast.cli.commands.status, holdfast.cli.views")


def test_who_only_looks_loads_nothing_that_changes_something() -> None:
    """Most of the time of `status` is loading; so much again lies in what moves applications."""
    loaded = loaded_by("from holdfast import Holdfast; Holdfast().close()")
    assert "holdfast.service" in loaded
    not_needed = ("holdfast.restoration", "holdfast.applications.rebind", "rich")
    assert not [name for name in loaded if name.startswith(not_needed)]


def test_a_command_loads_no_other_one() -> None:
    loaded = loaded_by("from holdfast.cli import main; main(['explain', 'NOFILE'])")
    commands = "holdfast.cli.commands."
    assert {each for each in loaded if each.startswith(commands)} == {f"{commands}explain"}


def test_a_command_loads_no_library_that_only_the_api_needs() -> None:
    """As the parser of commands would, from typer 0.29 on: decision 0067."""
    loaded = loaded_by("from holdfast.cli import main; main(['doctor', '--nothing'])")
    assert "typer" in loaded
    assert not {"pydantic", "fastapi", "httpx"} & loaded


def loaded_by(program: str) -> set[str]:
    """The names of all modules that are there when the program has run."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())
