"""docs/cli.md names every command and every option."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from holdfast.cli.application import application

TEXT = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command with its name as typed."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(("holdfast", *path)), command
        return
    for name, each in below.items():
        yield from commands(each, (*path, name))


def test_nothing_is_missing() -> None:
    found = dict(commands(typer.main.get_command(application)))
    assert len(found) > 20
    assert [name for name in found if f"`{name}" not in TEXT] == []
    for name, command in found.items():
        for option in command.params:
            spellings = [each for each in (*option.opts, *option.secondary_opts) if each[0] == "-"]
            if spellings and "--help" not in spellings:
                assert any(each in TEXT for each in spellings), f"{name} {spellings}"
